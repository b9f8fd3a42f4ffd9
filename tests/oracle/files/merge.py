import json,numpy as np,keras
from keras.models import Model,Sequential
from keras.layers import *
def two(mode,**o):
    a=Sequential([Dense(4,input_shape=(3,),activation='tanh')]); b=Sequential([Dense(4,input_shape=(5,))]); b.add(Activation('sigmoid'))
    m=Sequential([Merge([a,b],mode=mode,**o)]); m.add(Dense(2)); m.compile('sgd','mse')
    return m
x=[np.sin(.37*np.arange(n*2)+k).astype('float32').reshape(2,n) for k,n in enumerate((3,5))]
cases=[]
for mode,o in [('sum',{}),('concat',{}),('concat1',dict(concat_axis=1)),('mul',{}),('ave',{}),('max',{}),('dot',dict(dot_axes=1)),('cos',dict(dot_axes=1))]:
    m=two(mode.rstrip('1'),**o)
    m.train_on_batch(x,np.ones((2,2))); name='merge_%s.h5'%mode
    m.save(name)
    # 'cos' gives an axis of length 1 more than the model's own output_shape has.
    cases.append({'file':'k122/'+name,'predicted_by':'Keras '+keras.__version__,'inputs':[v.tolist() for v in x],'outputs':[m.predict(x).reshape((2,)+m.output_shape[1:]).tolist()]})
# the same branch twice, a Merge within a functional model
i,j=Input((3,)),Input((3,)); d=Dense(4); h=merge([d(i),d(j)],mode='concat'); m=Model([i,j],Dense(1)(h)); m.compile('sgd','mse')
y=[x[0],x[0][::-1].copy()]; m.save('merge_functional.h5'); cases.append({'file':'k122/merge_functional.h5','predicted_by':'Keras '+keras.__version__,'inputs':[v.tolist() for v in y],'outputs':[m.predict(y).tolist()]})
json.dump(cases,open('merge.json','w'))
