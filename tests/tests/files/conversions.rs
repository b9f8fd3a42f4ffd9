//! Weights of older versions and of other backends: `oracle/conversions_2_3_1.py` made `fixtures/conversions_2_3_1.zip`.

use super::unpacked;
use keras_core::models::Model;
use keras_core::saving::{LoadWeights, load_model, model_from_json};
use keras_core::{Array, Result, npy};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

/// The model of a case with the weights of its file, which changes nothing if they do not fit.
fn loaded(case: &Value, file: &Path) -> Result<Model> {
    if case["whole"] == true {
        return load_model(file);
    }
    let model = model_from_json(&case["model"].to_string()).unwrap();
    let before = model.get_weights().unwrap();
    if let Err(error) = model.load_weights(file, LoadWeights::new()) {
        assert_eq!(model.get_weights().unwrap(), before, "{error}");
        return Err(error);
    }
    Ok(model)
}

fn bits(weights: &[Array]) -> Vec<u32> {
    weights.iter().flat_map(Array::to_vec::<f32>).map(f32::to_bits).collect()
}

#[test]
fn weights_of_keras_1_theano_and_cudnn_become_what_keras_makes_of_them() {
    let folder = unpacked("conversions_2_3_1.zip");
    let path = |name: &str| folder.path().join(name);
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path("cases.json")).unwrap()).unwrap();
    let right: HashMap<String, Array> = npy::read_npz(path("weights.npz")).unwrap().into_iter().collect();
    let (mut wrong, mut beyond_keras) = (Vec::new(), 0);
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let said = case["error"].as_str().unwrap_or_default();
        match (loaded(case, &path(&format!("{name}.h5"))), right.get(name)) {
            (Ok(model), Some(right)) => {
                if bits(&model.get_weights().unwrap()) != bits(std::slice::from_ref(right)) {
                    wrong.push(format!("{name}: other weights"));
                }
                beyond_keras += usize::from(!said.is_empty() || case["mistaken"] == true);
            }
            (Ok(_), None) => wrong.push(format!("{name}: expected an error, as Keras has: {said}")),
            (Err(error), Some(_)) => wrong.push(format!("{name}: {error}")),
            (Err(error), None) => {
                let incompatible = said.contains("is not compatible with");
                if incompatible && !error.to_string().contains("GRU(reset_after=False) is not compatible") {
                    wrong.push(format!("{name}: {error}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    // Of layers inside others Keras 2.3.1 gets some wrong; what each layer by itself says holds here.
    assert_eq!((cases.len(), right.len(), beyond_keras), (254, 232, 28));
}
