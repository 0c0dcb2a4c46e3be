//! A table, read as its first byte says: what is taken fits what was foreseen, can be encoded, and lines fit it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadcount::kernels::{Isa, Team};
use threadcount::tables::models::{Affine, Kind};
use threadcount::tables::{
    Decimal, Design, Encoding, Gram, Missing, Needed, Outline, Parts, ReadOptions, Separator,
    Values, Work,
};
use threadcount_fuzz::{Folder, check_line, taken};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);

/// Columns that are solved for: more take long.
const MOST_SOLVED: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, text)) = input.split_first() else { return };
    let options = ReadOptions {
        separator: [None, Some(Separator::Comma), Some(Separator::Semicolon), Some(Separator::Tab)]
            [usize::from(choice & 3)],
        decimal: [None, Some(Decimal::Point), Some(Decimal::Comma)][usize::from(choice >> 2) % 3],
        missing: if choice & 0x40 == 0 { Missing::Refuse } else { Missing::Drop },
        memory: Some(1 << 20),
        ..ReadOptions::default()
    };
    FOLDER.put("table.csv", text);
    let Some(outline) = taken(Outline::read(&FOLDER.path("table.csv"), "y", &options)) else {
        return;
    };
    let work = Work { kinds: &Kind::ALL, test_share: 0.2, threads: 1, is_saved: true };
    let needed = Needed::of(&outline, &work);
    assert!(needed.table > 0 && needed.most() >= needed.table);
    taken(needed.check(&outline));
    let rows = outline.rows();
    let Some(table) = taken(outline.table()) else { return };
    assert!(rows >= 2 && table.values.len() == rows && table.values.iter().all(|y| y.is_finite()));
    table.remarks.iter().for_each(|remark| check_line(remark));
    for column in &table.columns {
        assert_eq!(column.values.len(), rows);
        if let Values::Text { codes, categories } = &column.values {
            assert!(codes.iter().all(|&code| (code as usize) < categories.len()));
            assert!(categories.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
    let parts = Parts::new(&table, 0.2, 1).expect("two rows");
    let Some(encoding) = taken(Encoding::fit(&table, &parts.train)) else { return };
    let design = Design::new(&encoding, &table, &parts.train).expect("its own table");
    if design.width() > MOST_SOLVED {
        return;
    }
    let targets: Vec<f64> = parts.train.iter().map(|&row| table.values[row as usize]).collect();
    let team = Team::solo(Isa::best());
    let gram = Gram::new(&team, &design, &targets);
    let test = Design::new(&encoding, &table, &parts.test).expect("its own table");
    for model in [Affine::least_squares(&gram), Affine::ridge(&gram, 1.0)] {
        let Some(model) = taken(model) else { continue };
        assert_eq!(model.predict(&team, &test).expect("predictions").len(), parts.test.len());
    }
});
