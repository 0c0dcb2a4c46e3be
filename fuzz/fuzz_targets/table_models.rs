//! A folder of models of a table, with checksums that are right: what is taken predicts.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use threadcount::kernels::{Isa, Pool};
use threadcount::tables::models::Kind;
use threadcount::tables::{Column, Design, Encoded, Folder as Models, Table, Values};
use threadcount_fuzz::{Folder, check_line, checksums, files, taken};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::new);

/// The models that an input has files of.
const KINDS: [Kind; 3] = [Kind::Linear, Kind::Forest, Kind::Network];

fuzz_target!(|input: &[u8]| {
    let [table, rest @ ..] = files::<4>(input);
    let models = rest.map(checksums::tensors);
    let named: Vec<_> = KINDS.iter().map(|kind| kind.name()).zip(&models).collect();
    for (name, bytes) in &named {
        FOLDER.put(&format!("{name}.safetensors"), bytes);
    }
    FOLDER.put("table.toml", &checksums::table(table, &named));
    let Some(folder) = taken(Models::open(FOLDER.root())) else { return };
    let encoding = folder.encoding();
    let column = |name: &str, encoded: &Encoded| {
        let values = match encoded {
            Encoded::Number { .. } => Values::Numbers(vec![0.0, 1.5]),
            Encoded::Categories(known) => Values::text([known[0].as_str(), "no category"]),
        };
        Column { name: name.to_owned(), values }
    };
    let columns = encoding.columns.iter().map(|c| column(&c.name, &c.encoded)).collect();
    let table = Table::new(columns, &encoding.target, vec![0.0; 2]).expect("different names");
    let design = Design::new(encoding, &table, &[0, 1]).expect("its own columns");
    let pool = Pool::new(Isa::best(), 1).expect("a pool");
    for kind in KINDS {
        let Some(mut model) = taken(folder.load(kind.name(), &pool)) else { continue };
        assert_eq!(model.predict(&design, &pool).expect("predictions").len(), 2);
    }
    for saved in folder.models() {
        check_line(&saved.test.to_string());
    }
});
