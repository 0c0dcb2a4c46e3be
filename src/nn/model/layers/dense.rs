//! The fully connected layer.

use std::fmt;

use serde::de::{self, Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use threadcount_kernels::gemm::{Epilogue, Write, gemm, is_worth_sharing};
use threadcount_kernels::update::step_by_product;
use threadcount_kernels::{Activation, Mat, MatMut, naive, sums};

use super::activation::sweep_of;
use super::text;
use super::*;
use crate::error::Result;
use crate::nn::model::Initializer;

/// `y = activation(x w + b)` with `w` `[inputs, units]`, Glorot uniform, and `b` zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// Outputs.
    pub units: Units,
    /// Applied to every output.
    #[serde(with = "text::ActivationText", default = "text::linear")]
    pub activation: Activation,
}

/// A fully connected layer.
pub fn dense(units: usize, activation: Activation) -> Layer {
    Dense { units: Units::Number(units), activation }.into()
}

/// A linear dense layer with an output for each class of the samples.
pub fn class_outputs() -> Layer {
    Dense { units: Units::Classes, activation: Activation::Linear }.into()
}

/// How many outputs a dense layer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// This many.
    Number(usize),
    /// As many as the samples have classes. [`LayerOption::Classes`] replaces this by the number.
    Classes,
}

impl Units {
    /// The number; 0 if it is not known yet, which every plan refuses.
    pub(crate) fn number(self) -> usize {
        match self {
            Self::Number(units) => units,
            Self::Classes => 0,
        }
    }
}

/// The word of [`Units::Classes`] in files.
const CLASSES: &str = "classes";

impl Serialize for Units {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Number(units) => units.serialize(serializer),
            Self::Classes => CLASSES.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Units;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from 1 up or \"{CLASSES}\"")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> std::result::Result<Units, E> {
                let wrong = |_| E::invalid_value(Unexpected::Signed(value), &self);
                usize::try_from(value).map(Units::Number).map_err(wrong)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> std::result::Result<Units, E> {
                match value {
                    CLASSES => Ok(Units::Classes),
                    _ => Err(E::invalid_value(Unexpected::Str(value), &self)),
                }
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl LayerKind for Dense {
    fn names(&self) -> (&'static str, &'static str) {
        ("Dense", "dense")
    }

    fn plan(&self, input: Shape) -> Result<LayerPlan> {
        let Shape::Flat(fan_in) = input else {
            return wrong_input("dense", "a vector (add flatten before it)", input);
        };
        let fan_out = match self.units {
            Units::Number(0) => return refuse("dense needs at least one unit"),
            Units::Number(units) => units,
            Units::Classes => {
                return refuse("dense has an output for each class, and nobody said how many");
            }
        };
        check_activation(self.activation)?;
        let glorot = Initializer::GlorotUniform { fan_in, fan_out };
        Ok(LayerPlan {
            params: vec![
                TensorPlan::new("kernel", &[fan_in, fan_out], glorot),
                TensorPlan::new("bias", &[fan_out], Initializer::Zeros),
            ],
            input_gradient: InputGradient::TimesDerivative,
            ..LayerPlan::new(Shape::Flat(fan_out), Buffers::Apart)
        })
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn forward(&self, pass: Forward<'_>) {
        let (inputs, units) = (pass.input.len(), self.units.number());
        let n = pass.x.len() / inputs;
        let (w, bias) = pass.params.split_at(inputs * units);
        let x = Mat::new(pass.x, n, inputs);
        let w = Mat::new(w, inputs, units);
        let y = MatMut::new(pass.y, n, units);
        let epilogue = Epilogue::Bias { bias, activation: self.activation };
        gemm(pass.team, 1.0, x, w, Write::Set, y, epilogue);
    }

    fn backward(&self, mut pass: Backward<'_>) {
        let (inputs, units) = (pass.input.len(), self.units.number());
        let n = pass.x.len() / inputs;
        pass.dz(self.activation);
        let (x, dz) = (Mat::new(pass.x, n, inputs), Mat::new(pass.dy, n, units));

        if let Some(dx) = pass.dx {
            let w = Mat::new(&pass.params[..inputs * units], inputs, units);
            let epilogue = match pass.below {
                Activation::Linear => Epilogue::None,
                activation => Epilogue::Derivative { y: x, activation },
            };
            gemm(pass.team, 1.0, dz, w.t(), Write::Set, MatMut::new(dx, n, inputs), epilogue);
            pass.laps.input_done();
        }

        if let Params::Frozen(_) = pass.params {
            return;
        }
        let (dw, db) = pass.grads.split_at_mut(inputs * units);
        sums::columns(pass.team, dz, db);
        match pass.params {
            Params::Fixed(_) | Params::Frozen(_) => {
                let dw = MatMut::new(dw, inputs, units);
                gemm(pass.team, 1.0, x.t(), dz, Write::Set, dw, Epilogue::None);
            }
            Params::Moving(moving) => {
                let (w, bias) = moving.split_at(inputs * units);
                step_by_product(pass.team, x, pass.dy, dw, w);
                bias.step(pass.team, db);
            }
        }
    }

    fn step_is(&self) -> StepIs {
        StepIs::PartOfBackward
    }

    /// PyTorch: `weight` `[out, in]`, its columns channel by channel after a flattened image.
    fn exchange(&self, place: &Place) -> Option<Exchange> {
        let (inputs, units) = (place.input.len(), self.units.number());
        let (kernel, vector) = (View::same(&[inputs, units]), View::same(&[units]));
        let weight = kernel.permuted(&[1, 0]).channels_first(1, place.image);
        let module = format!("nn.Linear({inputs}, {units})");
        let activation = exchange::keras_activation(self.activation);
        let keras = format!("layers.Dense({units}, activation={activation})");
        Some(Exchange {
            pytorch: Foreign::new(
                exchange::with_activation(module, self.activation),
                vec![all("weight", "kernel", weight), bias("bias", vector.clone())],
            ),
            keras: Foreign::new(
                vec![keras],
                vec![all("kernel", "kernel", kernel), all("bias", "bias", vector)],
            ),
            image: None,
        })
    }

    fn twin(&self) -> Option<&dyn Twin> {
        Some(self)
    }

    /// The update's threads share the weights by inputs.
    fn input_cut(&self) -> Cut {
        Cut::Columns
    }

    fn is_worth_sharing(&self, team: &Team, rows: usize, input: Shape) -> bool {
        is_worth_sharing(team, rows, self.units.number(), input.len())
    }

    fn with_option(&self, option: LayerOption) -> Option<Layer> {
        match option {
            LayerOption::HiddenActivation(activation) if self.activation != Activation::Linear => {
                Some(Self { activation, ..*self }.into())
            }
            LayerOption::Classes(classes) if self.units == Units::Classes => {
                Some(dense(classes, self.activation))
            }
            _ => None,
        }
    }

    fn kernels(&self, site: &Site, _: &[Layer]) -> Vec<KernelCall> {
        let (inputs, outputs) = (site.input.len(), self.units.number());
        let weights = WeightMatrix { inputs, outputs, batch: site.batch, position: site.position };
        let mut kernels = vec![KernelCall::Products { weights, times: 1 }];
        kernels.extend(sweep_of(self.activation));
        kernels
    }
}

impl Twin for Dense {
    fn naive_forward(&self, pass: Forward<'_>) {
        let (inputs, units) = (pass.input.len(), self.units.number());
        let n = pass.x.len() / inputs;
        let (w, bias) = pass.params.split_at(inputs * units);
        let (x, w) = (Mat::new(pass.x, n, inputs), Mat::new(w, inputs, units));
        let epilogue = Epilogue::Bias { bias, activation: self.activation };
        naive::gemm::gemm(1.0, x, w, Write::Set, MatMut::new(pass.y, n, units), epilogue);
    }

    fn naive_backward(&self, pass: Backward<'_>) {
        let (inputs, units) = (pass.input.len(), self.units.number());
        let n = pass.x.len() / inputs;
        naive::activation::backward(self.activation, pass.y, pass.dy);
        let (x, dz) = (Mat::new(pass.x, n, inputs), Mat::new(pass.dy, n, units));
        let (dw, db) = pass.grads.split_at_mut(inputs * units);
        let dw = MatMut::new(dw, inputs, units);
        naive::gemm::gemm(1.0, x.t(), dz, Write::Set, dw, Epilogue::None);
        naive::sums::columns(dz, db);
        if let Some(dx) = pass.dx {
            let w = Mat::new(&pass.params[..inputs * units], inputs, units);
            let dx = MatMut::new(dx, n, inputs);
            naive::gemm::gemm(1.0, dz, w.t(), Write::Set, dx, Epilogue::None);
        }
    }
}

pub(super) fn examples() -> Vec<Example> {
    [Activation::Linear, Activation::Sigmoid, Activation::LeakyRelu { slope: 0.1 }]
        .map(|activation| Example::new(Shape::Flat(11), dense(6, activation)))
        .into()
}
