//! From arrays to a trained, saved and reloaded network.
//!
//! ```sh
//! cargo run --release --no-default-features --example train_on_arrays
//! ```

use std::ops::ControlFlow;
use threadcount::data::{Samples, Shape, Split};
use threadcount::nn::{Activation, dense, dropout};
use threadcount::train::{EarlyStopping, Keep, Moment, Setup, Task, Trained};

fn main() -> threadcount::Result<()> {
    // Any arrays will do: inputs as bytes or floats, a class for each (or values, for a regression).
    let (x, labels) = spirals(3_000);
    let samples = Samples::new(Shape::Flat(2), x, &labels)?;
    let (rest, test) = samples.split_tail(0.2)?;
    let (train, validation) = rest.split_tail(0.1)?;

    let task = Task {
        layers: vec![
            dense(64, Activation::Tanh),
            dropout(0.1),
            dense(64, Activation::Tanh),
            dense(3, Activation::Linear),
        ],
        epochs: 200,
        early_stopping: Some(EarlyStopping { patience: 20 }),
        keep: Keep::BestLoss,
        ..Task::default()
    };
    let setup = Setup::default();
    let mut trained = task.fit(&Split::new(train, validation), &setup, |session, moment| {
        let epochs = &session.progress().history.epochs;
        if let Some(last) =
            epochs.last().filter(|_| moment == Moment::Epoch && epochs.len() % 20 == 0)
        {
            println!("epoch {}: {:.3} of the validation samples", last.epoch, last.val_accuracy);
        }
        ControlFlow::Continue(())
    })?;

    let path = std::env::temp_dir().join("threadcount-spirals.safetensors");
    trained.save(&path)?;
    let mut loaded = Trained::load(&path, &task, Shape::Flat(2), &setup)?;
    assert_eq!(loaded.predict(&test)?, trained.predict(&test)?);

    let score = loaded.evaluate(&test)?;
    println!("{:.3} of {} test samples, from {}", score.accuracy, test.len(), path.display());
    Ok(())
}

/// Points on three spiral arms, and the arm of each.
fn spirals(n: usize) -> (Vec<f32>, Vec<u8>) {
    let mut x = Vec::with_capacity(2 * n);
    let mut labels = Vec::with_capacity(n);
    for i in 0..n {
        // Fractions that fill 0 to 1 evenly, in no order.
        let along = (i as f32 * 0.618_034).fract();
        let aside = (i as f32 * 0.754_878).fract() - 0.5;
        let arm = (i % 3) as u8;
        let angle = 4.0 * along + f32::from(arm) * std::f32::consts::TAU / 3.0 + 0.4 * aside;
        x.extend([along * angle.cos(), along * angle.sin()]);
        labels.push(arm);
    }
    (x, labels)
}
