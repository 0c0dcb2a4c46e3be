//! What the simple recurrent layer and the LSTM share: the parameters, in the order kernel,
//! recurrent kernel, bias.

use threadcount_kernels::recurrent::{self, Gradients, Weights};

use super::exchange::{Exchange, Foreign, ForeignTensor, Holds, Place, View, all};
use super::{KernelCall, Position, Shape, Site, TensorPlan, WeightMatrix, refuse, wrong_input};
use crate::error::Result;
use crate::nn::model::Initializer;

/// A layer's sizes as the kernels take them. `input` is a sequence: `plan_params` has checked that.
pub(super) fn shape(input: Shape, units: usize) -> recurrent::Shape {
    recurrent::Shape { steps: input.len() / input.last(), inputs: input.last(), units }
}

/// The parameters of a layer with `gates` blocks of `units` columns side by side.
pub(super) fn plan_params(
    layer: &str,
    input: Shape,
    units: usize,
    gates: usize,
    bias: Initializer,
) -> Result<Vec<TensorPlan>> {
    let Shape::Rows([_, inputs]) = input else {
        return wrong_input(layer, "a sequence of rows", input);
    };
    if units == 0 {
        return refuse(format!("{layer} needs at least one unit"));
    }
    let width = units.saturating_mul(gates);
    let glorot = Initializer::GlorotUniform { fan_in: inputs, fan_out: width };
    let orthogonal = Initializer::Orthogonal { rows: units, cols: width };
    Ok(vec![
        TensorPlan::new("kernel", &[inputs, width], glorot),
        TensorPlan::new("recurrent_kernel", &[units, width], orthogonal),
        TensorPlan::new("bias", &[width], bias),
    ])
}

/// The parameters in a layer's slice of the flat buffer; the number of gates follows from the
/// slice's length.
pub(super) fn weights<'a>(params: &'a [f32], shape: &recurrent::Shape) -> Weights<'a> {
    let width = params.len() / (shape.inputs + shape.units + 1);
    let (wx, rest) = params.split_at(shape.inputs * width);
    let (wh, b) = rest.split_at(shape.units * width);
    Weights { wx, wh, b }
}

/// The gradients of these parameters, and of the input.
pub(super) fn gradients<'a>(
    grads: &'a mut [f32],
    dx: Option<&'a mut [f32]>,
    shape: &recurrent::Shape,
) -> Gradients<'a> {
    let width = grads.len() / (shape.inputs + shape.units + 1);
    let (dwx, rest) = grads.split_at_mut(shape.inputs * width);
    let (dwh, db) = rest.split_at_mut(shape.units * width);
    Gradients { dwx, dwh, db, dx }
}

/// The products of a training step: the inputs of all time steps at once, the state one time step after
/// another. The first time step has no state before it.
pub(super) fn kernels(site: &Site, units: usize, gates: usize) -> Vec<KernelCall> {
    let Shape::Rows([steps, inputs]) = site.input else { return Vec::new() };
    let (outputs, batch) = (gates * units, site.batch);
    let weights = WeightMatrix { inputs, outputs, batch: steps * batch, position: site.position };
    let recurrent = WeightMatrix { inputs: units, outputs, batch, position: Position::Inner };
    vec![
        KernelCall::Products { weights, times: 1 },
        KernelCall::Products { weights: recurrent, times: steps - 1 },
    ]
}

/// The layer in other frameworks: the class `keras` in Keras, and in PyTorch the class `pytorch`, which
/// `helper` defines. Gates lie in the same order everywhere: i, f, g (Keras: c), o. PyTorch has `weight`
/// `[gates units, inputs]`, and two biases whose sum is ours.
pub(super) fn exchange(
    place: &Place,
    units: usize,
    gates: usize,
    keras: &str,
    pytorch: &str,
    helper: &'static str,
) -> Exchange {
    let (inputs, width) = (place.input.last(), gates * units);
    let (wx, wh) = (View::same(&[inputs, width]), View::same(&[units, width]));
    let b = View::same(&[width]);
    let turned = |view: &View| view.permuted(&[1, 0]);
    let second = Holds::Added("bias", b.clone());
    let modules = vec![format!("{pytorch}({inputs}, {units}, batch_first=True)")];
    let tensors = vec![
        all("weight_ih_l0", "kernel", turned(&wx)),
        all("weight_hh_l0", "recurrent_kernel", turned(&wh)),
        ForeignTensor { name: "bias_ih_l0", holds: Holds::Bias("bias", b.clone()) },
        ForeignTensor { name: "bias_hh_l0", holds: second },
    ];
    let arrays = vec![
        all("kernel", "kernel", wx),
        all("recurrent_kernel", "recurrent_kernel", wh),
        all("bias", "bias", b),
    ];
    Exchange {
        pytorch: Foreign { helper, ..Foreign::new(modules, tensors) },
        keras: Foreign::new(vec![format!("layers.{keras}({units})")], arrays),
        image: None,
    }
}
