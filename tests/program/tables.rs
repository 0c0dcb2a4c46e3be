//! Tables as people have them: bad ones are refused with file, line and column, or treated as it is stated; good ones
//! give the same figures in whichever form they are written. Through the program, in folders of its own.

use crate::common::desk::Desk;
use predicates::prelude::*;
use predicates::str::contains;
use rand_chacha::rand_core::Rng;
use serde_json::Value;
use std::fs;
use std::path::Path;
use threadcount::random::{Key, Purpose};
use threadcount::tables::{Decimal, Missing, ReadOptions, Separator, Table, Values};

fn put(desk: &Desk, name: &str, text: impl AsRef<[u8]>) {
    fs::write(desk.path(name), text).unwrap();
}

/// The JSON document of a comparison.
fn compared(desk: &Desk, args: &str) -> Value {
    let output = desk.bare(&format!("regress {args} --json -")).output().unwrap();
    assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A figure of one model of a document.
fn figure(document: &Value, model: &str, name: &str) -> f64 {
    let rows = document["results"].as_array().unwrap();
    let row = rows.iter().find(|row| row["model"] == model).unwrap();
    row[name].as_f64().unwrap_or(f64::NAN)
}

/// How a table is written.
#[derive(Clone, Copy)]
struct Form {
    separator: &'static str,
    decimal: &'static str,
    /// Between thousands.
    grouping: &'static str,
    line_end: &'static str,
    begin: &'static str,
    quoted: bool,
}

const PLAIN: Form =
    Form { separator: ",", decimal: ".", grouping: "", line_end: "\n", begin: "", quoted: false };

/// Sixty rows of a number with decimals, a large one, a word, and a target.
fn written(form: Form) -> String {
    let cell = |text: &str| if form.quoted { format!("\"{text}\"") } else { text.to_owned() };
    let grouped = |n: u64| {
        let digits = n.to_string();
        match digits.len() {
            ..=3 => digits,
            len => format!("{}{}{}", &digits[..len - 3], form.grouping, &digits[len - 3..]),
        }
    };
    let mut text = form.begin.to_owned();
    let mut row = |cells: [String; 4]| {
        text += &cells.map(|text| cell(&text)).join(form.separator);
        text += form.line_end;
    };
    row(["size", "far", "kind", "price"].map(str::to_owned));
    for i in 0..60_u64 {
        let (whole, part) = (i * 7 % 13, i * 31 % 100);
        let far = 900 + i * 37 % 500 * 11;
        let kind = ["red", "green", "blue"][(i * 5 % 7 % 3) as usize];
        let price = 100 * whole + part + far / 7 + 400 * (i * 5 % 7 % 3) + i * i % 17;
        row([
            format!("{whole}{}{part:02}", form.decimal),
            grouped(far),
            kind.to_owned(),
            format!("{}{}50", grouped(price), form.decimal),
        ]);
    }
    text
}

#[test]
fn a_table_is_the_same_in_every_form() {
    let desk = Desk::new();
    put(&desk, "plain.csv", written(PLAIN));
    let of = |name: &str| {
        let document = compared(&desk, &format!("{name} --target price --models linear,mean"));
        assert_eq!(document["encoded_columns"], 5);
        ["mean", "linear"].map(|model| figure(&document, model, "mse"))
    };
    let plain = of("plain.csv");
    let document = compared(&desk, "plain.csv --target price --models linear");
    let figure = |name| figure(&document, "linear", name);
    assert_eq!(figure("root_mae"), figure("mae").sqrt());
    assert_eq!(figure("rmse"), figure("mse").sqrt());
    assert!(plain[0] > 10.0 * plain[1], "{plain:?}");
    let forms = [
        ("crlf", Form { line_end: "\r\n", ..PLAIN }),
        ("mark", Form { begin: "\u{feff}", ..PLAIN }),
        ("mark-crlf", Form { begin: "\u{feff}", line_end: "\r\n", ..PLAIN }),
        ("blank", Form { line_end: "\n\n", ..PLAIN }),
        ("quoted", Form { quoted: true, ..PLAIN }),
        ("tab", Form { separator: "\t", ..PLAIN }),
        ("semicolon", Form { separator: ";", decimal: ",", ..PLAIN }),
        ("semicolon-point", Form { separator: ";", ..PLAIN }),
        ("english", Form { quoted: true, grouping: ",", ..PLAIN }),
        ("german", Form { separator: ";", decimal: ",", grouping: ".", ..PLAIN }),
        ("french", Form { separator: ";", decimal: ",", grouping: "\u{202f}", ..PLAIN }),
        ("spaces", Form { grouping: " ", ..PLAIN }),
        ("decimal-comma-quoted", Form { quoted: true, decimal: ",", ..PLAIN }),
    ];
    for (name, form) in forms {
        put(&desk, &format!("{name}.csv"), written(form));
        assert_eq!(of(&format!("{name}.csv")), plain, "{name}");
    }
}

#[test]
fn bad_tables_are_refused_with_line_and_column() {
    let desk = Desk::new();
    let good = "a,b,y\n1,x,3\n2,z,4\n3,x,6\n";
    let many: String = (0..10_000).map(|i| format!("{i},word{i},{}\n", i * i % 97)).collect();
    for (text, words) in [
        // Rows.
        ("", "empty"),
        ("a,b,y\n", "no rows"),
        ("a,b,y\n1,x,3\n", "one row: at least two"),
        ("a,b,y\n1,x,3\n2,z\n3,x,6\n", "line 3: 2 cells, where the header has 3"),
        ("a,b,y\n1,x,3\n2,z,4,\n", "line 3: 4 cells"),
        ("a,b,y\r\n1,x,3\r\n2,z,4,5\r\n", "line 3: 4 cells"),
        // Cells.
        ("a,b,y\n1,x,3\n2,,4\n", "line 3: column 'b' has no value: --missing drop"),
        ("a,b,y\n1,x,3\nNA,z,4\n", "line 3: column 'a' has no value ('NA')"),
        ("a,b,y\n1,x,3\n2,z,NaN\n", "line 3: column 'y' has no value ('NaN')"),
        ("a,b,y\n1,x,3\ninf,z,4\n", "line 3: column 'a': 'inf' is not finite"),
        ("a,b,y\n1,x,3\n2,z,-Infinity\n", "line 3: column 'y': '-Infinity' is not finite"),
        ("a,b,y\n1,x,3\n1e999,z,4\n", "line 3: column 'a': '1e999' is not finite"),
        ("a,b,y\n1,x,3\n2,\"z,4\n3,x,5\n", "line 3"),
        // Columns.
        ("a,a,y\n1,x,3\n2,z,4\n", "line 1: columns 1 and 2 are both called 'a'"),
        ("y\n1\n2\n", "no column to predict 'y' from"),
        ("id,y\n1,2\n2,3\n", "no column to predict 'y' from"),
        ("a,y\n5,1\n5,2\n5,3\n", "every column is the same in all training rows"),
        ("a,y\n1,7\n2,7\n3,7\n", "column 'y' is the same in all training rows"),
        ("a,y\n1,cheap\n2,dear\n", "line 2: column 'y': 'cheap' is no number"),
        ("a,y\n1,3\n2,dear\n", "line 3: column 'y': 'dear' is no number"),
        // Two readings of one number.
        (
            "a,y\n\"1,234\",1\n\"2,345\",2\n",
            "line 2: column 'a': '1,234' is 1234 or 1.234: say which",
        ),
        ("a;y\n1.234;1\n2.345;2\n", "line 2: column 'a': '1.234' is 1.234 or 1234: say which"),
        (
            "a;b;y\n1.5;1;1\n2.5;2,5;2\n",
            "has a decimal point, '2,5' (line 3, column 'b') a decimal comma",
        ),
    ] {
        put(&desk, "bad.csv", text);
        // What only training rows can tell is refused after the table's size in memory was told.
        desk.refuses_last("regress bad.csv --target y --models mean,linear", 3, words);
        desk.refuses_last("regress bad.csv --target y", 3, "bad.csv");
    }
    put(&desk, "bad.csv", format!("a,b,y\n{many}"));
    desk.refuses(
        "regress bad.csv --target y",
        3,
        "line 4098: column 'b': more than 4096 categories",
    );
    put(&desk, "bad.csv", b"a,b,y\n1,\xe9t\xe9,3\n2,z,4\n");
    desk.refuses("regress bad.csv --target y", 3, "line 2: column 'b' is not UTF-8");
    put(&desk, "bad.csv", b"\xff\xfea\0,\0");
    desk.refuses("regress bad.csv --target y", 3, "UTF-16");
    put(&desk, "bad.csv", [&b"a,b,y\n1,\""[..], &[b'x'; 3 << 20]].concat());
    desk.refuses("regress bad.csv --target y", 3, "line 2: a row of more than 1 MiB");
    desk.refuses("regress none.csv --target y", 3, "none.csv");
    desk.refuses("regress . --target y", 3, "no file");
    // Not the table's fault.
    put(&desk, "good.csv", good);
    for (args, words) in [
        ("regress good.csv", "--target"),
        ("regress good.csv --target z", "no column 'z'"),
        ("regress good.csv --target y --leave-out c", "no column 'c'"),
        ("regress good.csv --target y --leave-out y", "that is the target"),
        ("regress good.csv --target y --models forrest", "did you mean 'forest'?"),
        ("regress good.csv --target y --test-share 1", "test-share: a share between 0 and 1"),
        ("regress good.csv --target y --test-share -1", "test-share"),
        ("regress good.csv --target y --epochs 0", "--epochs 0"),
        ("regress good.csv --target y --separator colon", "unknown separator 'colon'"),
        ("regress good.csv --target y --decimal dot", "unknown decimal mark 'dot'"),
        ("regress good.csv --target y --missing mean", "unknown treatment"),
    ] {
        desk.refuses(args, 2, words);
    }
}

/// What is not refused is told.
#[test]
fn treatments_are_told() {
    let desk = Desk::new();
    let noted = |text: &str, args: &str, words: &[&str]| {
        put(&desk, "t.csv", text);
        let mut run = desk.bare(&format!("regress t.csv --target y --models mean,linear {args}"));
        let assert = run.assert().success();
        for word in words {
            let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
            assert!(said.contains(word), "{word} in {said}");
        }
    };
    for name in ["", "Unnamed: 0", "index", "id", "ID"] {
        let text = format!("{name},a,y\n0,1,2\n1,3,4\n2,5,9\n");
        let shown = if name.is_empty() { "without a name".to_owned() } else { format!("'{name}'") };
        noted(&text, "", &[&format!("the column {shown} numbers the rows: left out")]);
        // What is asked for is predicted, whatever it is called.
        if name == "id" {
            let document = compared(&desk, "t.csv --target id --models mean");
            assert_eq!(document["encoded_columns"], 2);
        }
    }
    noted(
        "a,b,y\n1,5,2\n2,5,3\n4,5,9\n",
        "",
        &["the column 'b' is the same in all training rows: left out"],
    );
    noted("a,b,y\n1,k,2\n2,k,3\n4,k,9\n", "", &["the column 'b' is the same"]);
    noted(
        "a,b,y\n1,1,2\n2,1,3\n4,oops,9\n5,2,2\n6,2,3\n7,1,1\n",
        "",
        &["the column 'b' is taken for text", "'oops' is none"],
    );
    // Rows that are dropped leave what the others say.
    let gaps = "a,b,y\n1,u,2\n,u,500\n2,v,3\n3,NA,800\n4,u,\n3,v,6\n5,u,7\n";
    noted(gaps, "--missing drop", &["3 rows with a missing value: left out"]);
    let with = compared(&desk, "t.csv --target y --models mean --missing drop");
    put(&desk, "t.csv", "a,b,y\n1,u,2\n2,v,3\n3,v,6\n5,u,7\n");
    let without = compared(&desk, "t.csv --target y --models mean");
    assert_eq!(figure(&with, "mean", "mse"), figure(&without, "mean", "mse"));
    assert_eq!(with["dropped_rows"], 3);
    // Only gaps.
    put(&desk, "t.csv", "a,y\n,1\n2,\n");
    desk.refuses("regress t.csv --target y --missing drop", 3, "no rows (2 were dropped");
    // A category of few rows is sometimes in none of the training rows.
    let mut rare = "w,y\n".to_owned();
    (0..40).for_each(|i| rare += &format!("word{},{}\n", i % 20, i * 3 % 11));
    noted(&rare, "--test-share 0.8", &["have a category of 'w' that no training row has"]);
}

/// One row has no variance to explain.
#[test]
fn a_single_test_row_has_no_r2() {
    let desk = Desk::new();
    put(&desk, "t.csv", "a,y\n1,2\n2,3\n4,9\n5,7\n");
    let document = compared(&desk, "t.csv --target y --models mean,linear --out models");
    assert_eq!((&document["test_rows"], document["results"][0]["r2"].is_null()), (&1.into(), true));
    assert!(figure(&document, "mean", "mse") > 0.0);
    let text = desk.bare("regress t.csv --target y --models mean").output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.lines().any(|line| line.contains("undefined")), "{text}");
    // And the models of it are saved and read.
    desk.bare("predict models t.csv").assert().success();
    let two = compared(&desk, "t.csv --target y --models mean --test-share 0.5");
    assert!(two["results"][0]["r2"].is_number());
}

/// A mark that is given decides what would be ambiguous.
#[test]
fn given_forms_win() {
    let desk = Desk::new();
    let read = |text: &str, options: &ReadOptions| {
        put(&desk, "t.csv", text);
        let table = Table::read(&desk.path("t.csv"), "y", options).unwrap();
        table.columns.into_iter().map(|column| column.values).collect::<Vec<_>>()
    };
    let decimal = |decimal| ReadOptions { decimal: Some(decimal), ..ReadOptions::default() };
    let text = "a;y\n1.234;1\n2.345;2\n";
    assert_eq!(read(text, &decimal(Decimal::Point)), [Values::Numbers(vec![1.234, 2.345])]);
    assert_eq!(read(text, &decimal(Decimal::Comma)), [Values::Numbers(vec![1234.0, 2345.0])]);
    let text = "a,y\n\"1,234\",1\n\"2,5\",2\n";
    assert_eq!(read(text, &ReadOptions::default()), [Values::Numbers(vec![1.234, 2.5])]);
    assert_eq!(read(text, &decimal(Decimal::Point)), [Values::text(["1,234", "2,5"])]);
    // Three decimals with a point are usual where commas separate.
    let text = "a,y\n1.234,1\n2.345,2\n";
    assert_eq!(read(text, &ReadOptions::default()), [Values::Numbers(vec![1.234, 2.345])]);
    let tabs = ReadOptions { separator: Some(Separator::Tab), ..ReadOptions::default() };
    put(&desk, "t.csv", "a,y\n1,2\n3,4\n");
    assert_eq!(Table::read(&desk.path("t.csv"), "y", &tabs).unwrap_err().exit_code(), 2);
}

/// Whatever a table says, reading it gives a table or one error of the kinds that there are.
#[test]
fn no_table_makes_reading_panic() {
    let desk = Desk::new();
    let path = desk.path("t.csv");
    let pieces: [&[u8]; 30] = [
        b",",
        b",",
        b",",
        b";",
        b"\t",
        b"\n",
        b"\n",
        b"\r\n",
        b"\"",
        b"\"\"",
        b"a",
        b"y",
        b"id",
        b"1",
        b"2.5",
        b"3,4",
        b"1.234",
        b"1,234,567",
        b"-",
        b"inf",
        b"NA",
        b"",
        b" ",
        b"1e400",
        b"\xef\xbb\xbf",
        b"\xc3\xa9",
        b"\xff",
        b"\0",
        b"\xc2\xa0",
        b"e5",
    ];
    let headers: [&[u8]; 6] =
        [b"a,y\n", b"a;b;y\r\n", b"y,a,b\n", b",a,y\n", b"", b"\xef\xbb\xbfa\ty\n"];
    let mut rng = Key::new(1, Purpose::Synthetic).rng();
    let mut below = move |n: usize| (rng.next_u64() % n as u64) as usize;
    let (mut read, mut refused) = (0, 0);
    for _ in 0..5_000 {
        let mut text = headers[below(headers.len())].to_vec();
        // Half of them nearly tables, half of them anything.
        let columns = 1 + text.iter().filter(|b| b",;\t".contains(b)).count();
        let separator = *text.iter().find(|b| b",;\t".contains(b)).unwrap_or(&b',');
        if below(2) == 0 {
            for _ in 0..below(6) {
                for column in 0..columns {
                    text.extend(pieces[[13, 14, 16, 19, 20, 10, 15][below(7)]]);
                    text.push(if column + 1 < columns { separator } else { b'\n' });
                }
            }
        } else {
            (0..below(40)).for_each(|_| text.extend(pieces[below(pieces.len())]));
        }
        fs::write(&path, &text).unwrap();
        let options = ReadOptions {
            missing: if below(2) == 0 { Missing::Refuse } else { Missing::Drop },
            ..ReadOptions::default()
        };
        match Table::read(&path, "y", &options) {
            Ok(table) => {
                read += 1;
                assert!(table.values.iter().all(|y| y.is_finite()));
                assert!(table.columns.iter().all(|c| c.values.len() == table.values.len()));
            }
            Err(error) => {
                refused += 1;
                assert!([2, 3].contains(&error.exit_code()), "{error}: {text:?}");
            }
        }
    }
    assert!(read > 20 && refused > 2_000, "{read} {refused}");
}

#[test]
fn the_same_figures_at_any_thread_count() {
    let desk = Desk::new();
    desk.bare("data flights --rows 400 --out f.csv").assert().success();
    let of = |threads: usize| {
        let args = format!("f.csv --target price --epochs 2 --seed 3 --threads {threads}");
        let document = compared(&desk, &format!("{args} --out m{threads}"));
        let names = ["mean", "linear", "ridge", "forest", "descent", "network"];
        let figures = names.map(|model| ["mse", "mae", "r2"].map(|f| figure(&document, model, f)));
        let files = names
            .map(|model| fs::read(desk.path(&format!("m{threads}/{model}.safetensors"))).unwrap());
        (figures, files, desk.read(&format!("m{threads}/table.toml")))
    };
    let one = of(1);
    assert!(one == of(2) && one == of(3));
    let other = compared(&desk, "f.csv --target price --models forest --seed 4");
    assert_ne!(figure(&other, "forest", "mse"), one.0[3][0]);
}

/// Training and prediction of a table like the report's, from the command line.
#[test]
fn saved_models_predict_a_column() {
    let desk = Desk::new();
    desk.bare("data flights --rows 2000 --seed 1 --out f.csv").assert().success();
    let claimed = contains("claimed MSE").and(contains("515,482,303")).and(contains("root MAE"));
    let train = "regress f.csv --target price --leave-out flight --epochs 3 --out models";
    desk.bare(train).assert().success().stdout(claimed);
    desk.refuses(train, 1, "already holds models");
    for name in ["comparison.svg", "predicted.svg"] {
        assert!(desk.read(&format!("models/{name}")).contains("</svg>"));
    }
    desk.bare("data flights --rows 300 --seed 2 --out new.csv").assert().success();
    for model in ["mean", "linear", "ridge", "forest", "descent", "network"] {
        let args = format!("predict models new.csv --model {model} --out {model}.csv");
        desk.bare(&args).assert().success().stderr(contains("300 rows predicted"));
        let (table, predicted) = (desk.read("new.csv"), desk.read(&format!("{model}.csv")));
        let (mut squared, mut prices) = (0.0, Vec::new());
        for (row, line) in table.lines().zip(predicted.lines()) {
            let cell = line.strip_prefix(row).unwrap().strip_prefix(',').unwrap();
            if let Ok(prediction) = cell.parse::<f64>() {
                let price: f64 = row.rsplit(',').next().unwrap().parse().unwrap();
                squared += (prediction - price).powi(2);
                prices.push(price);
            } else {
                assert_eq!(cell, "predicted_price");
            }
        }
        assert_eq!(prices.len(), 300);
        let mean = prices.iter().sum::<f64>() / 300.0;
        let total: f64 = prices.iter().map(|price| (price - mean).powi(2)).sum();
        let r2 = 1.0 - squared / total;
        let least = if model == "mean" { -0.1 } else { 0.3 };
        assert!(r2 > least, "{model}: {r2}");
    }
    // For the test rows, what regress itself predicted.
    let tested: Vec<Vec<String>> = desk
        .read("models/test.csv")
        .lines()
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect();
    assert_eq!(
        tested[0],
        ["row", "true", "mean", "linear", "ridge", "forest", "descent", "network"]
    );
    assert_eq!(tested.len(), 401);
    let all: Vec<String> = desk.read("f.csv").lines().map(str::to_owned).collect();
    let mut rows = all[0].clone();
    tested[1..]
        .iter()
        .for_each(|cells| rows += &format!("\n{}", all[1 + cells[0].parse::<usize>().unwrap()]));
    put(&desk, "rows.csv", rows);
    for (at, model) in tested[0].iter().enumerate().skip(2) {
        desk.bare(&format!("predict models rows.csv --model {model} --out p.csv"))
            .assert()
            .success();
        for (cells, line) in tested.iter().zip(desk.read("p.csv").lines()).skip(1) {
            assert!(
                line.ends_with(&format!(",{},{}", cells[1], cells[at])),
                "{model}: {cells:?} {line}"
            );
        }
    }
    // Without --out to stdout, by the best model.
    let output = desk.bare("predict models new.csv").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), desk.read("forest.csv"));
    desk.refuses("predict models new.csv --model tree", 2, "unknown model 'tree'");
    desk.refuses("predict nowhere new.csv", 3, "no models here");
    desk.refuses("predict models forest.csv", 3, "has a column 'predicted_price' already");
}

#[test]
fn what_prediction_meets_is_told() {
    let desk = Desk::new();
    let mut text = "a;w;y\n".to_owned();
    (0..30)
        .for_each(|i| text += &format!("{},5;{};{}\n", i, ["u", "v", "x"][i % 3], 2 * i + i % 3));
    put(&desk, "t.csv", text);
    desk.bare("regress t.csv --target y --models mean,linear --out m").assert().success();
    let predict = |text: &str, args: &str| {
        put(&desk, "n.csv", text);
        desk.bare(&format!("predict m n.csv {args}")).output().unwrap()
    };
    // Another order, other columns besides, another separator and decimal mark, no target; spaces and quotes stay.
    let output =
        predict("w,\"note, long\",a\nu,\"x, y\",1.5\n v ,,2.5\nnever,z,3.5\nnew,z,4.5\n", "");
    let (out, said) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "w,\"note, long\",a,predicted_y");
    assert!(lines[1].starts_with("u,\"x, y\",1.5,") && lines[2].starts_with(" v ,,2.5,"), "{out}");
    let value = |line: &str| line.rsplit(',').next().unwrap().parse::<f64>().unwrap();
    assert!((value(lines[1]) - 2.0).abs() < 1e-6 && (value(lines[2]) - 5.0).abs() < 1e-6, "{out}");
    assert!(said.contains("2 rows of a category of 'w' that was not trained on"), "{said}");
    // With a decimal comma.
    let output = predict("a;w\n0,5;u\n0,25;u\n", "");
    let out = String::from_utf8(output.stdout).unwrap();
    let last = out.lines().nth(2).unwrap().strip_prefix("0,25;u;").unwrap().replace(',', ".");
    assert!((last.parse::<f64>().unwrap() + 0.5).abs() < 1e-6, "{out}");
    // Missing values.
    let gaps = "a,w\n1.5,u\n,u\n2.5,NA\n";
    let output = predict(gaps, "--missing empty");
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("\n,u,\n2.5,NA,\n"), "{out}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("2 rows with a missing value"));
    for (text, words) in [
        (gaps, "line 3: column 'a' has no value: --missing empty"),
        ("a,b\n1,2\n", "no column 'w' (there are a, b): the model predicts from it"),
        ("a,w\n1,u\nx,u\n", "line 3: column 'a': 'x' is no number"),
        ("a,w\n1,u\ninf,u\n", "line 3: column 'a': 'inf' is not finite"),
        ("a,w\n1,u\n2\n", "line 3: 1 cells"),
        ("", "empty"),
    ] {
        put(&desk, "n.csv", text);
        desk.refuses("predict m n.csv", 3, words);
        desk.refuses("predict m n.csv --out o.csv", 3, "n.csv");
        assert!(!desk.path("o.csv").exists());
    }
    // No rows: a heading, and no error.
    assert_eq!(predict("a,w\n", "").stdout, b"a,w,predicted_y\n");
}

/// Claims stand beside a table of the report's columns, and beside no other.
#[test]
fn claims_are_of_one_table() {
    let desk = Desk::new();
    desk.bare("data flights --rows 400 --out f.csv").assert().success();
    let has_claims = |args: &str| {
        let document = compared(&desk, args);
        !document["results"][0]["claimed_mse"].is_null()
    };
    assert!(has_claims("f.csv --target price --models mean"));
    assert!(!has_claims("f.csv --target duration --models mean"));
    put(&desk, "g.csv", desk.read("f.csv").replacen("stops", "stop", 1));
    assert!(!has_claims("g.csv --target price --models mean"));
    let text = desk.bare("regress g.csv --target price --models mean").assert().success();
    text.stdout(contains("claimed").not());
}

#[test]
fn drawn_flights_are_a_table() {
    let desk = Desk::new();
    desk.bare("data flights --rows 5").assert().success().stdout(contains(
        ",airline,flight,source_city,departure_time,stops,arrival_time,destination_city,class,duration,days_left,price\n",
    ));
    desk.bare("data flights --rows 50 --seed 7 --out a.csv").assert().success().stdout("");
    desk.bare("data flights --rows 50 --seed 7 --out b.csv").assert().success();
    assert_eq!(desk.read("a.csv"), desk.read("b.csv"));
    let table = Table::read(&desk.path("a.csv"), "price", &ReadOptions::default()).unwrap();
    assert_eq!(table.values.len(), 50);
    let numbers = |name: &str| {
        let column = table.columns.iter().find(|column| column.name == name).unwrap();
        matches!(column.values, Values::Numbers(_))
    };
    assert!(numbers("duration") && numbers("days_left") && !numbers("flight"));
    desk.bare("data flights --rows 0 --out none.csv").assert().success();
    desk.refuses("regress none.csv --target price", 3, "no rows");
    assert!(Table::read(Path::new("nowhere.csv"), "price", &ReadOptions::default()).is_err());
}

/// Spreadsheets break lines in a header's cells, and files from elsewhere hold anything.
#[test]
fn names_with_control_characters_are_shown_escaped() {
    let desk = Desk::new();
    let table = |rows: &str| format!("\"a\x1b[2J\",\"b\nc\",\"price\n(USD)\"\n{rows}");
    let good: String = (0..40).map(|i| format!("{},{},{i}\n", i % 3, ["x", "y"][i % 2])).collect();
    let tables: [(&str, Vec<u8>, i32); 8] = [
        ("good", table(&good).into_bytes(), 0),
        ("constant", table(&good.replace(",y,", ",x,")).into_bytes(), 0),
        ("unseen", table(&good.replace("0,x,0\n", "0,only,0\n")).into_bytes(), 0),
        ("text", table(&good.replace("2,x,2\n", "2w,x,2\n")).into_bytes(), 0),
        ("missing", table(&good.replace("2,x,2\n", ",x,2\n")).into_bytes(), 3),
        ("ragged", table(&good.replace("2,x,2\n", "2,x\n")).into_bytes(), 3),
        ("target", table(&good.replace("2,x,2\n", "2,x,\x1bw\n")).into_bytes(), 3),
        ("latin1", [table(&good).as_bytes(), b"1\xf9,x,3\n"].concat(), 3),
    ];
    for (name, text, code) in tables {
        put(&desk, &format!("{name}.csv"), text);
        let args = format!("regress {name}.csv --models mean,linear --out {name} --target");
        let output = desk.bare(&args).arg("price\n(USD)").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{name}: {stderr}");
        let stdout = String::from_utf8_lossy(&output.stdout);
        for text in [&*stdout, &*stderr] {
            let steers = |c: char| c.is_control() && c != '\n';
            assert!(!text.contains(steers), "{name}: {text:?}");
            assert!(!text.contains("price\n"), "{name}: {text}");
        }
        if code == 3 {
            assert_eq!(stderr.lines().count(), 1, "{name}: {stderr}");
            continue;
        }
        for file in fs::read_dir(desk.path(name)).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "svg") {
                let picture = fs::read_to_string(&path).unwrap();
                assert!(!picture.contains('\x1b') && !picture.contains("price\n"), "{path:?}");
            }
        }
    }
}
