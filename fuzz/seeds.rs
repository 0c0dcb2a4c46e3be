//! Writes the inputs that fuzzing begins with: `cargo run --bin seeds -- FOLDER` makes a folder for each target.

use std::error::Error;
use std::fs;
use std::path::Path;

use threadcount::data::{Samples, Shape, Split};
use threadcount::nn::{Activation, dense};
use threadcount::reports;
use threadcount::train::{Setup, Task};
use threadcount_fuzz::Folder;

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::args_os().nth(1).ok_or("name a folder")?;
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let folder = Path::new(&root).join(target);
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(name), bytes))
    };
    for recipe in reports::select(&[])? {
        put("task_toml", &recipe.id, recipe.task.to_toml()?.as_bytes())?;
    }
    put("safetensors", "model", &model()?)?;
    Ok(())
}

/// The file of a network as the target `safetensors` has it.
fn model() -> Result<Vec<u8>, Box<dyn Error>> {
    let samples = Samples::new(Shape::Flat(2), vec![0.5_f32, 0.25, 0.75, 0.125], &[1_u8, 0])?;
    let layers = vec![dense(3, Activation::Relu), dense(2, Activation::Linear)];
    let task = Task { layers, epochs: 1, ..Task::default() };
    let setup = Setup { threads: Some(1), ..Setup::default() };
    let split = Split::new(samples.clone(), samples);
    let trained = task.fit(&split, &setup, |_, _| std::ops::ControlFlow::Continue(()))?;
    let folder = Folder::new();
    trained.save(&folder.path("model"))?;
    Ok(fs::read(folder.path("model"))?)
}
