"""What four of the 401 layers of long.h5 predict, loaded by their names: files.json's cases of it."""
import json,sys,numpy as np,keras
from keras.layers import Dense
from keras.models import Sequential
cases=[]
for p in sys.argv[1:]:
    keras.backend.clear_session()
    m=Sequential([Dense(1,input_shape=(2,),name='d'*200)]+[Dense(1,name='x%d_'%i+'y'*196) for i in (0,199,399)])
    m.load_weights(p,by_name=True)
    x=np.sin(np.arange(6)*0.37).reshape((3,2)).astype('float32')
    cases.append({'file':p,'predicted_by':'Keras '+keras.__version__,'inputs':[x.tolist()],'outputs':[m.predict(x).tolist()]})
json.dump(cases,open('long.json','w'))
