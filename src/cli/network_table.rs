//! A network's layers as a table, as Keras prints it.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};

use super::table::grouped;
use crate::nn::Plan;

/// A table of all layers (name and kind, output shape, parameters), then the totals and their
/// size in memory.
pub(super) fn summary(title: &str, plan: &Plan) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["Layer (type)", "Output Shape", "Param #"]);
    for layer in plan.layers() {
        table.add_row([
            format!("{} ({})", layer.name, layer.class_name()),
            layer.output.to_string(),
            grouped(layer.parameter_count() as u64),
        ]);
    }
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let total =
        |what, count: usize| format!(" {what}: {} ({})", grouped(count as u64), size(count));
    let learning = plan.learning().iter().map(ExactSizeIterator::len).sum();
    [
        format!("Model: \"{title}\""),
        table.to_string(),
        total("Total params", plan.parameter_count()),
        total("Trainable params", learning),
        total("Non-trainable params", plan.parameter_count() - learning),
    ]
    .join("\n")
}

/// The memory of that many floats, in powers of 1024.
fn size(floats: usize) -> String {
    let mut amount = floats as f64 * 4.0;
    for unit in ["B", "KB", "MB"] {
        if amount < 1024.0 {
            return format!("{amount:.2} {unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.2} GB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Activation, Padding, Shape};
    use crate::nn::{batch_norm, conv2d, dense, dropout, flatten, max_pool};

    #[test]
    fn numbers() {
        assert_eq!(size(0), "0.00 B");
        assert_eq!(size(567_434), "2.16 MB");
        assert_eq!(size(1 << 30), "4.00 GB");
    }

    /// The counts that the reports print.
    #[test]
    fn the_reports_networks() {
        let (relu, linear) = (Activation::Relu, Activation::Linear);
        let mlp = [dense(512, relu), dense(256, relu), dense(128, relu), dense(10, linear)];
        let plan = Plan::new(Shape::Flat(784), &mlp).unwrap();
        assert!(summary("mlp", &plan).contains("Total params: 567,434 (2.16 MB)"));

        let cnn = [
            conv2d(64, 3, Padding::Same, relu),
            dropout(0.2),
            max_pool(2),
            conv2d(32, 3, Padding::Same, relu),
            dropout(0.2),
            max_pool(2),
            flatten(),
            dense(256, relu),
            dense(10, linear),
        ];
        let plan = Plan::new(Shape::Image([28, 28, 1]), &cnn).unwrap();
        let text = summary("cnn", &plan);
        assert!(text.contains("Total params: 423,338"), "{text}");
        for row in ["conv2d_1 (Conv2D)", "(None, 14, 14, 32)", "18,464", "flatten (Flatten)"] {
            assert!(text.contains(row), "{row} in\n{text}");
        }
    }

    #[test]
    fn moving_statistics_are_not_trainable() {
        let layers = [batch_norm(), dense(1, Activation::Linear)];
        let plan = Plan::new(Shape::Flat(6), &layers).unwrap();
        let text = summary("norm", &plan);
        assert!(text.contains("Total params: 31"), "{text}");
        assert!(text.contains("Trainable params: 19"), "{text}");
        assert!(text.contains("Non-trainable params: 12"), "{text}");
    }
}
