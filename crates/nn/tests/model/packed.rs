//! Packed weights among what models do with parameters: they are told apart by their format, read as numbers, and change in no way.

use kiln_ir::packed::BlockFormat;
use kiln_nn::variable::with_unfilled_parameters;
use kiln_nn::{Context, Dense, Input, Key, Layer, Module, Step, StepOptions, Tensor, parameters};

/// Two outputs of 256 numbers; the bytes of either are as many in Q4_0 as in Q4_K.
fn packed(format: BlockFormat, nibbles: u8) -> Dense {
    let layer = with_unfilled_parameters(|| Dense::new(256, 2, Key::new(1)).without_bias());
    // Scales of 1, which Q4_0 has each 18 bytes.
    let block = [[0x00, 0x3c].as_slice(), &[nibbles; 16]].concat();
    layer.weight.set_packed(format, block.repeat(16), &[1, 0]).unwrap();
    layer
}

fn numbers(layer: &Dense) -> Vec<f32> {
    layer.weight.value().unwrap().as_slice::<f32>().unwrap().to_vec()
}

#[test]
fn bytes_of_one_format_arent_taken_for_those_of_another() {
    let (one, two) = (packed(BlockFormat::Q4_0, 0x99), packed(BlockFormat::Q4_0, 0xaa));
    assert_eq!(numbers(&one), [1.0; 512]);
    one.copy_from(&two).unwrap();
    assert_eq!(numbers(&one), [2.0; 512]);

    let error = one.copy_from(&packed(BlockFormat::Q4K, 0x99)).unwrap_err().to_string();
    assert!(
        error.contains("weight is Q4_0[256, 2] in blocks along axis 0 and there Q4_K[256, 2]"),
        "{error}"
    );
    let plain = Dense::new(256, 2, Key::new(1)).without_bias();
    let error = one.copy_from(&plain).unwrap_err().to_string();
    assert!(error.contains("Q4_0[256, 2] in blocks along axis 0 and there f32[256, 2]"), "{error}");
    // The same format, with blocks along the other axis.
    let [here, there] = [[1, 0], [0, 1]].map(|order| {
        let layer = with_unfilled_parameters(|| Dense::new(32, 32, Key::new(1)).without_bias());
        layer.weight.set_packed(BlockFormat::Q8_0, vec![0; 32 * 34], &order).unwrap();
        layer
    });
    let error = here.copy_from(&there).unwrap_err().to_string();
    assert!(error.contains("along axis 0 and there Q8_0[32, 32] in blocks along axis 1"), "{error}");
    assert_eq!(numbers(&one), [2.0; 512]);
}

#[test]
fn blocks_arent_blended() {
    let (one, two) = (packed(BlockFormat::Q4_0, 0x99), packed(BlockFormat::Q4_0, 0xaa));
    let error = one.lerp(&two, 0.5).unwrap_err().to_string();
    assert!(error.contains("weight is packed as Q4_0") && error.contains("copy_from"), "{error}");
    let mut step = Step::custom(0.1, StepOptions::new(), |step, [x]| {
        step.lerp(&one, &two, 0.5)?;
        Ok(vec![x])
    });
    let error = step.run([Input::new(&[1f32], &[1])]).unwrap_err().to_string();
    assert!(error.contains("weight is packed as Q4_0"), "{error}");
    assert_eq!(numbers(&one), [1.0; 512]);
}

#[test]
fn a_step_reads_packed_numbers_and_sets_none() {
    let layer = packed(BlockFormat::Q4_0, 0xb9);
    let mut step = Step::custom(0.1, StepOptions::new(), |step, [x]| {
        let value = step.value(&layer.weight);
        assert_eq!(value.shape().sizes(), [256, 2]);
        Ok(vec![x + value.sum(..)])
    });
    // Half of the numbers are 1 and half of them 3.
    assert_eq!(step.run([Input::new(&[1f32], &[1])]).unwrap(), 1025.0);
    let mut step = Step::custom(0.1, StepOptions::new(), |step, [x]| {
        step.set(&layer.weight, &Tensor::zeros([256, 2]))?;
        Ok(vec![x])
    });
    let error = step.run([Input::new(&[1f32], &[1])]).unwrap_err().to_string();
    assert!(error.contains("packed as Q4_0, and isn't changed"), "{error}");
}

#[test]
fn adapters_of_a_mixed_model_are_merged_all_or_none() {
    struct Net {
        first: Dense,
        second: Dense,
    }
    parameters!(Net { first, second });
    let first = Dense::new(4, 256, Key::new(1)).without_bias();
    let net = Net { first, second: packed(BlockFormat::Q4_0, 0x99) };
    net.adapt("*.weight", 2, 4.0, Key::new(2)).unwrap();
    for (path, param) in net.parameters() {
        if path.ends_with("lora_b") {
            param.set(&Tensor::ones(param.shape())).unwrap();
        }
    }
    let out = || -> Vec<f32> {
        let cx = Context::inference();
        net.second.forward(&net.first.forward(&Tensor::ones([1, 4]), &cx), &cx).to_vec().unwrap()
    };
    let (before, first) = (out(), numbers(&net.first));
    let error = net.merge_adapters().unwrap_err().to_string();
    assert!(error.contains("second.weight: the parameter is packed as Q4_0"), "{error}");
    assert!(net.first.weight.adapter().is_some() && net.second.weight.adapter().is_some());
    assert_eq!((out(), numbers(&net.first)), (before, first));
}
