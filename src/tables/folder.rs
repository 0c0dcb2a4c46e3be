//! A folder of trained models: `table.toml` with the encoding and what each model measured, and a file for each
//! model, whose checksum `table.toml` holds.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use threadcount_kernels::Pool;

use super::encoding::Encoding;
use super::models::{Affine, Kind, Net, Regressor, Trees};
use crate::classical::forest::{Bins, Forest};
use crate::evaluate::Regression;
use crate::files::{hex, write_atomically};
use crate::names::shortened_middle;
use crate::nn::io::tensor_file::{Tensor, TensorFile, encode};
use crate::{Error, Result};

/// What is written last: a folder without it is not whole.
const TABLE: &str = "table.toml";
/// The largest `table.toml` that is read: the longest names of the most categories are shorter.
const MOST_BYTES: u64 = 64 << 20;
/// The longest message of a parser that is repeated whole.
const LONGEST: usize = 200;
/// Names of an affine model's tensors.
const INTERCEPT: &str = "intercept";
const WEIGHTS: &str = "weights";

/// A folder of trained models.
#[derive(Clone, Debug, PartialEq)]
pub struct Folder {
    path: PathBuf,
    contents: Contents,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: String,
    /// The model with the smallest mean squared error.
    best: String,
    encoding: Encoding,
    models: Vec<SavedModel>,
}

/// A model in a [`Folder`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedModel {
    /// The name of its [`Kind`].
    pub name: String,
    /// Its file.
    pub file: String,
    /// The checksum of that.
    pub sha256: String,
    /// What it measured on the test rows.
    pub test: Regression,
    /// Of a forest: the edges of the bins of each column of numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<Vec<f64>>,
}

impl Folder {
    /// Refuses a path where a folder of models is already, or something else than a folder.
    ///
    /// # Errors
    /// [`Error::Failed`].
    pub fn check_new(path: &Path) -> Result<()> {
        let shown = path.display();
        match (path.is_dir(), path.exists()) {
            (true, _) if path.join(TABLE).exists() => {
                Err(Error::Failed(format!("{shown} already holds models: choose another folder")))
            }
            (false, true) => {
                Err(Error::Failed(format!("{shown} is no folder: choose another name")))
            }
            _ => Ok(()),
        }
    }

    /// Whether a folder of models is there, sound or not.
    pub fn is_at(path: &Path) -> bool {
        path.join(TABLE).is_file()
    }

    /// Writes models and what they measured. The folder is made if it does not exist.
    ///
    /// # Errors
    /// As [`Self::check_new`]; [`Error::Io`].
    pub fn write(
        path: &Path,
        encoding: &Encoding,
        models: &[(Kind, &Regressor, Regression)],
    ) -> Result<Self> {
        Self::check_new(path)?;
        fs::create_dir_all(path).map_err(Error::io(path))?;
        let mut saved = Vec::with_capacity(models.len());
        for (kind, model, test) in models {
            let file = format!("{}.safetensors", kind.name());
            let to = path.join(&file);
            let mut edges = Vec::new();
            match model {
                Regressor::Affine(affine) => write_atomically(&to, &affine.encode()?)?,
                Regressor::Net(net) => net.save(&to)?,
                Regressor::Trees(trees) => {
                    let (forest, bins) = trees.parts();
                    forest.save(&to, "")?;
                    edges = bins.iter().map(|bins| bins.edges().to_vec()).collect();
                }
            }
            let sha256 = checksum_of_file(&to)?;
            saved.push(SavedModel {
                name: kind.name().to_owned(),
                file,
                sha256,
                test: *test,
                edges,
            });
        }
        let best = saved.iter().min_by(|a, b| a.test.mse.total_cmp(&b.test.mse));
        let contents = Contents {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            best: best.map_or(String::new(), |model| model.name.clone()),
            encoding: encoding.clone(),
            models: saved,
        };
        let text = toml::to_string(&contents)
            .map_err(|error| Error::Failed(format!("cannot write {TABLE}: {error}")))?;
        write_atomically(&path.join(TABLE), text.as_bytes())?;
        Ok(Self { path: path.to_owned(), contents })
    }

    /// Opens a folder of models.
    ///
    /// # Errors
    /// [`Error::Data`] if there is none, or `table.toml` cannot be understood.
    pub fn open(path: &Path) -> Result<Self> {
        let table = path.join(TABLE);
        let fault = |fault: String| Err(Error::data(&table, fault));
        match fs::metadata(&table) {
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                let fault = "no models here (it has no table.toml): name a folder that regress --out has written";
                return Err(Error::data(path, fault));
            }
            Err(error) => return Err(Error::io(&table)(error)),
            Ok(facts) if facts.len() > MOST_BYTES => return fault("too large".to_owned()),
            Ok(_) => {}
        }
        let text = match fs::read_to_string(&table) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return fault("not text".to_owned());
            }
            Err(error) => return Err(Error::io(&table)(error)),
        };
        let contents: Contents = match toml::from_str(&text) {
            Ok(contents) => contents,
            Err(error) => {
                let line =
                    error.span().map_or(0, |span| 1 + text[..span.start].matches('\n').count());
                let reason = shortened_middle(error.message(), LONGEST);
                return fault(format!("line {line}: {reason}"));
            }
        };
        if !contents.encoding.is_sound() {
            return fault("no encoding of a table: it was changed, or is damaged".to_owned());
        }
        Ok(Self { path: path.to_owned(), contents })
    }

    /// How its tables are encoded.
    pub fn encoding(&self) -> &Encoding {
        &self.contents.encoding
    }

    /// Its models.
    pub fn models(&self) -> &[SavedModel] {
        &self.contents.models
    }

    /// The name of the model with the smallest mean squared error on the test rows.
    pub fn best(&self) -> &str {
        &self.contents.best
    }

    /// Loads a model.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is none of that name; [`Error::Data`] if its file is missing, damaged, or of
    /// another encoding.
    pub fn load(&self, name: &str, pool: &Pool) -> Result<Regressor> {
        let kind = Kind::of_name(name)?;
        let Some(saved) = self.contents.models.iter().find(|saved| saved.name == name) else {
            let names: Vec<_> = self.models().iter().map(|saved| saved.name.as_str()).collect();
            return Err(Error::Usage(format!(
                "{} has no model '{name}' (there are {})",
                self.path.display(),
                names.join(", ")
            )));
        };
        // Whatever the file says, models are read from the folder itself.
        let path = self.path.join(format!("{name}.safetensors"));
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::data(&path, "missing: the folder is not whole"),
            _ => Error::io(&path)(error),
        })?;
        if checksum(&bytes) != saved.sha256 {
            return Err(Error::data(
                &path,
                format!("not the file that {TABLE} is about: changed, or damaged"),
            ));
        }
        let encoding = self.encoding();
        match kind {
            Kind::Mean | Kind::Linear | Kind::Ridge | Kind::Descent => {
                Affine::decode(&path, bytes, encoding.width()).map(Regressor::Affine)
            }
            Kind::Network => Ok(Regressor::Net(Box::new(Net::load(&path, encoding, pool)?))),
            Kind::Forest => {
                let bins = saved.edges.iter().map(|edges| Bins::of_edges(edges.clone())).collect();
                let bins: Option<Vec<Bins>> = bins;
                let (forest, _) = Forest::load(&path)?;
                let trees = bins.and_then(|bins| Trees::of_parts(encoding, forest, bins));
                trees.map(Regressor::Trees).ok_or_else(|| {
                    Error::data(&path, format!("the forest is not of the columns in {TABLE}"))
                })
            }
        }
    }
}

/// Of a file that may be large.
fn checksum_of_file(path: &Path) -> Result<String> {
    let mut file =
        BufReader::with_capacity(1 << 16, fs::File::open(path).map_err(Error::io(path))?);
    let mut sha = Sha256::new();
    loop {
        let block = file.fill_buf().map_err(Error::io(path))?;
        if block.is_empty() {
            return Ok(hex(&sha.finalize()));
        }
        sha.update(block);
        let n = block.len();
        file.consume(n);
    }
}

fn checksum(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

impl Affine {
    fn encode(&self) -> Result<Vec<u8>> {
        let intercept = [self.intercept];
        let tensors = [Tensor::flat(INTERCEPT, &intercept), Tensor::flat(WEIGHTS, &self.weights)];
        encode(&tensors, String::new())
    }

    fn decode(path: &Path, bytes: Vec<u8>, width: usize) -> Result<Self> {
        let file = TensorFile::of(path, bytes);
        let tensors = file.tensors()?;
        let (_, intercept) = tensors.array::<f64>(INTERCEPT, 1)?;
        let (_, weights) = tensors.array::<f64>(WEIGHTS, 1)?;
        match intercept[..] {
            [intercept] if weights.len() == width => Ok(Self { intercept, weights }),
            _ => Err(tensors.fault(format!("it has not an intercept and {width} weights"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::models::examples::Example;
    use super::super::models::{FitSettings, Training, Watching};
    use super::*;
    use crate::classical::TO_THE_END;
    use std::ops::ControlFlow;
    use tempfile::TempDir;
    use threadcount_kernels::Isa;

    fn pool() -> Pool {
        Pool::new(Isa::best(), 1).unwrap()
    }

    /// A folder of all models, and what each predicts.
    fn written(root: &TempDir) -> (Folder, Example, Vec<(Kind, Vec<f64>)>) {
        let example = Example::new(200, 1);
        let Example { encoding, train, targets, test, .. } = &example;
        let training = Training { encoding, design: train, targets };
        let settings = FitSettings::default();
        let mut watch = |_: &crate::train::Session<'_>, _| ControlFlow::Continue(());
        let fit = |kind| {
            let watching = Watching { network: &mut watch, go_on: TO_THE_END };
            Regressor::fit(kind, &training, &settings, &pool(), watching).unwrap()
        };
        let mut models: Vec<_> = Kind::ALL.map(fit).into_iter().collect();
        let predicted: Vec<_> = Kind::ALL
            .into_iter()
            .zip(&mut models)
            .map(|(kind, model)| (kind, model.predict(test, &pool()).unwrap()))
            .collect();
        let rows: Vec<_> = predicted
            .iter()
            .zip(&models)
            .map(|((kind, y), model)| (*kind, model, Regression::measure(&example.test_targets, y)))
            .collect();
        let folder = Folder::write(&root.path().join("models"), encoding, &rows).unwrap();
        (folder, example, predicted)
    }

    #[test]
    fn every_model_comes_back() {
        let root = tempfile::tempdir().unwrap();
        let (folder, example, predicted) = written(&root);
        let opened = Folder::open(&folder.path).unwrap();
        assert_eq!(opened, folder);
        assert_eq!(opened.encoding(), &example.encoding);
        for (kind, expected) in predicted {
            let mut model = opened.load(kind.name(), &pool()).unwrap();
            assert_eq!(model.predict(&example.test, &pool()).unwrap(), expected, "{}", kind.name());
        }
        assert!(Folder::check_new(&folder.path).unwrap_err().to_string().contains("already holds"));
    }

    #[test]
    fn weights_of_another_encoding_are_refused() {
        let path = Path::new("linear.safetensors");
        let affine = Affine { intercept: 3.0, weights: vec![1.0, -2.0] };
        let bytes = affine.encode().unwrap();
        assert_eq!(Affine::decode(path, bytes.clone(), 2).unwrap(), affine);
        for width in [0, 1, 3] {
            let fault = Affine::decode(path, bytes.clone(), width).unwrap_err();
            assert!(fault.to_string().contains(&format!("{width} weights")), "{fault}");
        }
        for bad in [f64::NAN, f64::INFINITY] {
            let bytes = Affine { intercept: bad, ..affine.clone() }.encode().unwrap();
            assert_eq!(Affine::decode(path, bytes, 2).unwrap_err().exit_code(), 3);
        }
    }

    #[test]
    fn damage_is_found() {
        let root = tempfile::tempdir().unwrap();
        let (folder, _, _) = written(&root);
        for kind in Kind::ALL {
            let path = folder.path.join(format!("{}.safetensors", kind.name()));
            let whole = fs::read(&path).unwrap();
            let mut bytes = whole.clone();
            *bytes.last_mut().unwrap() ^= 1;
            for bad in [&bytes[..], &whole[..whole.len() - 1], &[]] {
                fs::write(&path, bad).unwrap();
                assert_eq!(folder.load(kind.name(), &pool()).unwrap_err().exit_code(), 3);
            }
            fs::remove_file(&path).unwrap();
            assert_eq!(folder.load(kind.name(), &pool()).unwrap_err().exit_code(), 3);
        }
        let table = folder.path.join(TABLE);
        let text = fs::read_to_string(&table).unwrap();
        for (from, to) in [
            ("deviation = ", "deviation = -"),
            ("\"blue\"", "\"zebra\""),
            ("version", "versoin"),
            ("[encoding]", "[encoding"),
            ("name = \"b\"", "name = \"a\""),
        ] {
            assert!(text.contains(from), "{from} in {text}");
            fs::write(&table, text.replace(from, to)).unwrap();
            let fault = Folder::open(&folder.path).unwrap_err();
            assert_eq!(fault.exit_code(), 3, "{to}: {fault}");
        }
        fs::remove_file(&table).unwrap();
        assert!(Folder::open(&folder.path).unwrap_err().to_string().contains("no models here"));
    }
}
