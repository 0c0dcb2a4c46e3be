//! A task in TOML: what is taken can be written and read back the same, and planned or refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use threadcount::data::Shape;
use threadcount::nn::Plan;
use threadcount::train::Task;
use threadcount_fuzz::taken;

fuzz_target!(|text: &str| {
    if let Some(task) = taken(Task::from_toml(text)) {
        let written = task.to_toml().expect("written");
        let again = Task::from_toml(&written).expect("read back");
        // Not the tasks themselves: a NaN is no NaN's equal.
        assert_eq!(again.to_toml().expect("written"), written);
        let input = task.input.of(Shape::Image([28, 28, 1]));
        taken(input.and_then(|input| Plan::new(input, &task.layers_for(10))));
    }
});
