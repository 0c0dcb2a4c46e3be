//! A network as a program in Python: it makes the model of the other framework, loads its weights, scales
//! samples for it and turns its outputs into predictions.

use std::fmt::Write as _;

use super::layers;
use crate::Result;
use crate::data::{Scale, Shape};
use crate::nn::Loss;
use crate::nn::model::exchange::Framework;
use crate::nn::model::{Plan, TestAugment};

/// The network, and what the program needs besides.
pub(crate) struct Sequential<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) loss: Loss,
    pub(crate) scale: &'a Scale,
    /// The file of the weights, as the program is to name it.
    pub(crate) weights: &'a str,
}

/// The program.
///
/// # Errors
/// [`Error::Usage`](crate::Error::Usage) if the framework lacks one of the layers.
pub(crate) fn python(framework: Framework, network: &Sequential<'_>) -> Result<String> {
    let layers = layers(network.plan, framework)?;
    let input = network.plan.input();
    let mut text = String::from(match framework {
        Framework::PyTorch => {
            "import numpy as np\nimport torch\nfrom safetensors.torch import load_file\nfrom torch import nn\n\n"
        }
        Framework::Keras => "import keras\nimport numpy as np\nfrom keras import layers\n\n",
    });
    let mut helpers: Vec<&str> = layers.iter().map(|layer| layer.helper).collect();
    helpers.sort_unstable();
    helpers.dedup();
    for helper in helpers.into_iter().filter(|helper| !helper.is_empty()) {
        _ = write!(text, "\n{helper}\n");
    }
    text += match framework {
        Framework::PyTorch => "\nmodel = nn.Sequential(\n",
        Framework::Keras => "\nmodel = keras.Sequential([\n",
    };
    if framework == Framework::Keras {
        _ = writeln!(text, "    keras.Input({}),", tuple(input.dims()));
    }
    let mut number = 0;
    for (planned, layer) in network.plan.layers().iter().zip(&layers) {
        for line in &layer.code {
            _ = match framework {
                Framework::PyTorch => writeln!(text, "    {line},  # {number}: {}", planned.name),
                Framework::Keras => writeln!(text, "    {line},  # {}", planned.name),
            };
            number += 1;
        }
    }
    let weights = quoted(network.weights);
    _ = match framework {
        Framework::PyTorch => {
            write!(text, ")\nmodel.load_state_dict(load_file({weights}))\nmodel.eval()\n\n")
        }
        Framework::Keras => write!(
            text,
            "])\nwith np.load({weights}) as arrays:\n    \
             model.set_weights([arrays[f\"arr_{{i}}\"] for i in range(len(arrays.files))])\n\n"
        ),
    };
    let [factors, offsets] = [network.scale.factors(), network.scale.offsets()].map(numbers);
    _ = write!(text, "factors = {factors}\noffsets = {offsets}\n\n\n");
    let shape = input.dims().iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let inputs = network.scale.inputs();
    _ = write!(
        text,
        "def prepare(samples):\n    \"\"\"Samples as the data have them, images [n, height, width, channels], \
         for the model.\"\"\"\n    x = np.asarray(samples, np.float32).reshape(-1, {inputs}) * factors + offsets\n"
    );
    let channels_first = match input {
        Shape::Image(_) => ".transpose(0, 3, 1, 2)",
        Shape::Flat(_) | Shape::Rows(_) => "",
    };
    _ = match framework {
        Framework::PyTorch => writeln!(
            text,
            "    return torch.from_numpy(x.reshape(-1, {shape}){channels_first}.copy())"
        ),
        Framework::Keras => writeln!(text, "    return x.reshape(-1, {shape})"),
    };
    let outputs = match (framework, network.plan.test_augment()) {
        (Framework::PyTorch, TestAugment::None) => "model(x)",
        (Framework::PyTorch, TestAugment::Flip) => "(0.5 * (model(x) + model(x.flip(3))))",
        (Framework::Keras, TestAugment::None) => "model(x, training=False)",
        (Framework::Keras, TestAugment::Flip) => {
            "(0.5 * (model(x, training=False) + model(x[:, :, ::-1], training=False)))"
        }
    };
    let predictions = match (network.loss, framework) {
        (Loss::SoftmaxCrossEntropy, Framework::PyTorch) => format!("torch.softmax({outputs}, 1)"),
        (Loss::SoftmaxCrossEntropy, Framework::Keras) => format!("keras.ops.softmax({outputs})"),
        (Loss::BinaryCrossEntropy, Framework::PyTorch) => format!("torch.sigmoid({outputs})"),
        (Loss::BinaryCrossEntropy, Framework::Keras) => format!("keras.ops.sigmoid({outputs})"),
        (Loss::MeanSquaredError, _) => outputs.to_owned(),
    };
    text += "\n\ndef predict(samples):\n    \"\"\"What `threadcount` makes of samples: probabilities, or values.\"\"\"\n    x = prepare(samples)\n";
    _ = match framework {
        Framework::PyTorch => {
            writeln!(text, "    with torch.no_grad():\n        return {predictions}.numpy()")
        }
        Framework::Keras => writeln!(text, "    return keras.ops.convert_to_numpy({predictions})"),
    };
    Ok(text)
}

/// `(28, 28, 1)`
fn tuple(sizes: &[usize]) -> String {
    let list: Vec<_> = sizes.iter().map(usize::to_string).collect();
    format!("({}{})", list.join(", "), if sizes.len() == 1 { "," } else { "" })
}

/// Floats, as one number if all are the same. Their shortest decimals read back to the same bits.
fn numbers(all: &[f32]) -> String {
    let first = all.first().copied().unwrap_or_default();
    if all.iter().all(|x| *x == first) {
        return format!("np.float32({first})");
    }
    let list: Vec<_> = all.iter().map(f32::to_string).collect();
    format!("np.array([{}], np.float32)", list.join(", "))
}

/// A string literal of Python.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}
