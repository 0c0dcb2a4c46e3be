//! Trains one recipe with candle. `peer_candle.py` calls it: it picks the samples, writes them and
//! the recipe into a folder, and reads the line of JSON that this program prints.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::rnn::{LSTM, LSTMConfig, RNN};
use candle_nn::{
    AdamW, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, Init, Linear, Module, ModuleT,
    Optimizer, ParamsAdamW, SGD, VarBuilder, VarMap, batch_norm, loss, ops,
};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;

/// The recipe as `recipes.py` has it, and what else the run needs.
#[derive(Deserialize)]
struct Run {
    layers: Vec<Spec>,
    batch: usize,
    epochs: usize, // 0: only the speed is asked for
    optimizer: String,
    rate: f64,
    loss: String,
    input: String,
    shuffle: bool,
    seconds: f64,
    mask: bool,
    seed: u64,
}

#[derive(Deserialize)]
#[serde(tag = "kind")]
enum Spec {
    Dense { units: usize, activation: String },
    Conv { filters: usize, padding: String, activation: String },
    Pool,
    Norm { momentum: f64, epsilon: f64 },
    Dropout { rate: f32 },
    Flatten,
    Lstm { units: usize },
}

enum Layer {
    Dense(Linear, String),
    Conv(Conv2d, String),
    Pool,
    Norm(BatchNorm),
    Dropout(f32),
    Flatten,
    Lstm(LSTM),
}

const LEAKY_SLOPE: f64 = 0.1;

fn activate(x: Tensor, name: &str) -> candle_core::Result<Tensor> {
    match name {
        "relu" => x.relu(),
        "sigmoid" => ops::sigmoid(&x),
        // As a maximum, since candle's own is a sum of two.
        "leaky" => x.maximum(&(&x * LEAKY_SLOPE)?),
        _ => Ok(x),
    }
}

fn glorot(fan_in: usize, fan_out: usize) -> Init {
    let up = (6.0 / (fan_in + fan_out) as f64).sqrt();
    Init::Uniform { lo: -up, up }
}

/// The layers with their initial weights, for inputs `[c, h, w]`, `[steps, inputs]` or `[inputs]`.
fn build(specs: &[Spec], mut shape: Vec<usize>, vb: &VarBuilder) -> Result<Vec<Layer>> {
    let mut layers = Vec::new();
    for (number, spec) in specs.iter().enumerate() {
        let vb = vb.pp(number);
        layers.push(match *spec {
            Spec::Dense { units, ref activation } => {
                let w = vb.get_with_hints((units, shape[0]), "w", glorot(shape[0], units))?;
                let b = vb.get_with_hints(units, "b", Init::Const(0.0))?;
                shape = vec![units];
                Layer::Dense(Linear::new(w, Some(b)), activation.clone())
            }
            Spec::Conv { filters, ref padding, ref activation } => {
                let (c, same) = (shape[0], usize::from(padding == "same"));
                let w = vb.get_with_hints((filters, c, 3, 3), "w", glorot(9 * c, 9 * filters))?;
                let b = vb.get_with_hints(filters, "b", Init::Const(0.0))?;
                let config = Conv2dConfig { padding: same, ..Conv2dConfig::default() };
                shape = vec![filters, shape[1] - 2 + 2 * same, shape[2] - 2 + 2 * same];
                Layer::Conv(Conv2d::new(w, Some(b), config), activation.clone())
            }
            Spec::Pool => {
                shape = vec![shape[0], shape[1] / 2, shape[2] / 2];
                Layer::Pool
            }
            Spec::Norm { momentum, epsilon } => {
                let config = BatchNormConfig {
                    eps: epsilon,
                    momentum: 1.0 - momentum,
                    ..BatchNormConfig::default()
                };
                Layer::Norm(batch_norm(shape[0], config, vb)?)
            }
            Spec::Dropout { rate } => Layer::Dropout(rate),
            Spec::Flatten => {
                shape = vec![shape.iter().product()];
                Layer::Flatten
            }
            Spec::Lstm { units } => {
                let init = glorot(shape[1], 4 * units);
                let config = LSTMConfig {
                    w_ih_init: init,
                    w_hh_init: glorot(units, 4 * units),
                    b_hh_init: None,
                    ..LSTMConfig::default()
                };
                let lstm = LSTM::new(shape[1], units, config, vb)?;
                shape = vec![units];
                Layer::Lstm(lstm)
            }
        });
    }
    Ok(layers)
}

/// Scales what is kept. Random bytes are drawn eight at a time; candle's own dropout draws a float each.
fn dropout(x: &Tensor, rate: f32, masks: Option<&mut SmallRng>) -> candle_core::Result<Tensor> {
    let Some(rng) = masks else { return ops::dropout(x, rate) };
    let drop = (rate * 256.0).round() as u8;
    let mut bytes = vec![0u8; x.elem_count()];
    rng.fill(&mut bytes[..]);
    let scale = 256.0 / (256.0 - f32::from(drop));
    let mask: Vec<f32> = bytes.iter().map(|&b| if b >= drop { scale } else { 0.0 }).collect();
    x * Tensor::from_vec(mask, x.shape(), x.device())?
}

fn forward(
    layers: &[Layer],
    mut x: Tensor,
    train: bool,
    masks: &mut Option<SmallRng>,
) -> candle_core::Result<Tensor> {
    for layer in layers {
        x = match layer {
            Layer::Dense(linear, activation) => activate(linear.forward(&x)?, activation)?,
            Layer::Conv(conv, activation) => activate(conv.forward(&x)?, activation)?,
            Layer::Pool => {
                // The derivative of max_pool2d takes even sizes for granted.
                let (_, _, h, w) = x.dims4()?;
                x.narrow(2, 0, h / 2 * 2)?.narrow(3, 0, w / 2 * 2)?.max_pool2d(2)?
            }
            Layer::Norm(norm) => norm.forward_t(&x, train)?,
            Layer::Dropout(rate) if train => dropout(&x, *rate, masks.as_mut())?,
            Layer::Dropout(_) => x,
            Layer::Flatten => x.flatten_from(1)?,
            Layer::Lstm(lstm) => lstm.seq(&x)?.pop().expect("a sequence has steps").h().clone(),
        };
    }
    Ok(x)
}

/// Images as bytes with their labels, and what makes inputs of them.
struct Samples {
    x: Vec<u8>,
    y: Vec<u32>,
    factor: Tensor,
    offset: Tensor,
    shape: Vec<usize>,
}

impl Samples {
    fn batch(&self, picks: &[u32]) -> candle_core::Result<(Tensor, Tensor)> {
        let pixels = self.factor.elem_count();
        let mut x = Vec::with_capacity(picks.len() * pixels);
        for &pick in picks {
            let first = pick as usize * pixels;
            x.extend(self.x[first..first + pixels].iter().map(|&byte| f32::from(byte)));
        }
        let y: Vec<u32> = picks.iter().map(|&pick| self.y[pick as usize]).collect();
        let x = Tensor::from_vec(x, (picks.len(), pixels), &Device::Cpu)?;
        let x = x.broadcast_mul(&self.factor)?.broadcast_add(&self.offset)?;
        let y = Tensor::from_vec(y, picks.len(), &Device::Cpu)?;
        Ok((x.reshape([&[picks.len()], &self.shape[..]].concat())?, y))
    }
}

enum Rule {
    Adam(AdamW),
    Sgd(SGD),
}

fn objective(logits: &Tensor, y: &Tensor, binary: bool) -> candle_core::Result<Tensor> {
    if !binary {
        return loss::cross_entropy(logits, y);
    }
    // max(z, 0) - z t + ln(1 + exp(-|z|)): candle's own takes the logarithm of a sigmoid that may be 0.
    let z = logits.squeeze(D::Minus1)?;
    let t = y.to_dtype(DType::F32)?;
    let tail = (z.abs()?.neg()?.exp()? + 1.0)?.log()?;
    ((z.relu()? - (&z * t)?)? + tail)?.mean_all()
}

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).context("peer_candle.py calls this program")?;
    let folder = Path::new(&folder);
    let read = |name: &str| fs::read(folder.join(name)).with_context(|| name.to_owned());
    let run: Run = serde_json::from_slice(&read("recipe.json")?)?;
    let floats = |name: &str| -> Result<Tensor> {
        let bytes = read(name)?;
        Ok(Tensor::from_raw_buffer(&bytes, DType::F32, &[bytes.len() / 4], &Device::Cpu)?)
    };
    let shape = match run.input.as_str() {
        "image" => vec![1, 28, 28],
        "rows" => vec![28, 28],
        _ => vec![784],
    };
    let samples = |x: &str, y: &str| -> Result<Samples> {
        Ok(Samples {
            x: read(x)?,
            y: read(y)?.into_iter().map(u32::from).collect(),
            factor: floats("factor")?,
            offset: floats("offset")?,
            shape: shape.clone(),
        })
    };
    let train = samples("x", "y")?;
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let layers = build(&run.layers, shape.clone(), &vb)?;
    // The moving averages are variables too, which get no gradients.
    let all: Vec<Var> = vars.all_vars();
    let mut rule = if run.optimizer == "adam" {
        let constants =
            ParamsAdamW { lr: run.rate, beta1: 0.9, beta2: 0.999, eps: 1e-7, weight_decay: 0.0 };
        Rule::Adam(AdamW::new(all, constants)?)
    } else {
        Rule::Sgd(SGD::new(all, run.rate)?)
    };
    let mut rng = SmallRng::seed_from_u64(run.seed);
    let mut masks = run.mask.then(|| SmallRng::seed_from_u64(run.seed + 1));
    let binary = run.loss == "binary";
    let mut step = |picks: &[u32]| -> Result<()> {
        let (x, y) = train.batch(picks)?;
        let logits = forward(&layers, x, true, &mut masks)?;
        let grads = objective(&logits, &y, binary)?.backward()?;
        match &mut rule {
            Rule::Adam(adam) => adam.step(&grads)?,
            Rule::Sgd(sgd) => sgd.step(&grads)?,
        }
        Ok(())
    };

    let mut order: Vec<u32> = (0..train.y.len() as u32).collect();
    let began = Instant::now();
    let mut rates = Vec::new();
    let (mut images, mut piece) = (0, Instant::now());
    let warm_up = run.seconds / 4.0;
    let mut epoch = 0;
    'training: loop {
        if run.shuffle {
            order.shuffle(&mut rng);
        }
        for picks in order.chunks(run.batch) {
            step(picks)?;
            images += picks.len();
            let seconds = piece.elapsed().as_secs_f64();
            if run.epochs == 0 && seconds > 0.25 {
                if began.elapsed().as_secs_f64() > warm_up {
                    rates.push(images as f64 / seconds);
                }
                if rates.len() >= 3 && began.elapsed().as_secs_f64() > warm_up + run.seconds {
                    break 'training;
                }
                (images, piece) = (0, Instant::now());
            }
        }
        epoch += 1;
        if epoch == run.epochs {
            break;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    if run.epochs == 0 {
        rates.sort_by(f64::total_cmp);
        let rate = rates[rates.len() / 2];
        println!("{}", serde_json::json!({"images_per_second": rate, "pieces": rates.len()}));
        return Ok(());
    }
    let test = samples("x_test", "y_test")?;
    let mut hits = 0;
    let numbers: Vec<u32> = (0..test.y.len() as u32).collect();
    for picks in numbers.chunks(500) {
        let (x, y) = test.batch(picks)?;
        let logits = forward(&layers, x, false, &mut None)?;
        let predicted = if binary {
            logits.squeeze(D::Minus1)?.gt(0.0)?.to_dtype(DType::U32)?
        } else {
            logits.argmax(D::Minus1)?
        };
        hits += predicted.eq(&y)?.to_dtype(DType::U32)?.sum_all()?.to_scalar::<u32>()?;
    }
    let accuracy = f64::from(hits) / test.y.len() as f64;
    println!(
        "{}",
        serde_json::json!({"epochs": run.epochs, "train_seconds": seconds, "test_accuracy": accuracy})
    );
    Ok(())
}
