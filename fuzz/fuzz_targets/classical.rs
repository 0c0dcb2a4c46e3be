//! The file of a classical model, with a checksum that is right: what is taken gives probabilities, and is saved and
//! read the same.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadcount::classical::{Classifier, most_probable};
use threadcount::data::{Inputs, Samples, Shape};
use threadcount::kernels::{Isa, Team};
use threadcount_fuzz::{Folder, checksums, taken};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);

/// Samples that each model is asked about.
const ASKED: usize = 3;
/// Numbers of a sample, and classes, beyond which a model is not asked.
const MOST: usize = 1_000;

fuzz_target!(|bytes: &[u8]| {
    FOLDER.put("model", &checksums::tensors(bytes));
    let Some(model) = taken(Classifier::load(&FOLDER.path("model"))) else { return };
    let facts = model.facts();
    let shape = match facts.sample[..] {
        [inputs] => Shape::Flat(inputs),
        [steps, inputs] => Shape::Rows([steps, inputs]),
        [height, width, channels] => Shape::Image([height, width, channels]),
        _ => unreachable!("a loaded model has such samples"),
    };
    let classes = facts.classes.len();
    if shape.len() > MOST || classes > MOST {
        return;
    }
    let team = Team::solo(Isa::best());
    let saved = FOLDER.path("saved");
    model.save(&saved).expect("saved");
    let again = Classifier::load(&saved).expect("what was saved");
    assert_eq!((again.kind(), again.facts()), (model.kind(), facts));
    let number = |i: usize| (i * 37 % 256) as u8;
    let numbers: Vec<u8> = (0..ASKED * shape.len()).map(number).collect();
    let floats: Vec<f32> = numbers.iter().map(|&x| f32::from(x) / 7.0).collect();
    for inputs in [Inputs::from(numbers), Inputs::from(floats)] {
        let samples = Samples::new(shape, inputs, &[0_u8; ASKED]).expect("samples");
        // Of two kinds of inputs a model takes one.
        let Some(probabilities) = taken(model.probabilities(&team, &samples)) else { continue };
        assert_eq!(probabilities.len(), ASKED * classes);
        let most = most_probable(&probabilities, classes);
        assert!(most.iter().all(|&class| usize::from(class) < classes));
        let repeated = again.probabilities(&team, &samples).expect("as before");
        assert!(repeated.iter().zip(&probabilities).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
});
