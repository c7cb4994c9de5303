//! The rules of the house (`docs/architecture.md`), held by reading its sources. Every violation is listed at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, in lines.
const MAX_LINES: usize = 600;

/// Where `unsafe` may stand: folders end in `/`; a name that begins with `*` is the end of a path.
const UNSAFE: &[&str] = &[
    "kernels/src/isa/",
    "kernels/src/par.rs",
    "*/tile.rs",
    "runtime/src/plan/arena.rs",
    "runtime/src/format/map.rs",
    "runtime/src/gang.rs",
    // Counting allocators implement an unsafe trait.
    "tests/tests/allocation.rs",
    "tests/src/counting.rs",
    "bindings/",
];

/// Where the architecture of the processor may be named.
const ARCHITECTURE: &[&str] = &["kernels/src/isa/"];

/// The package and what of this workspace it may use; the command embeds the demonstration of `pocketnn-models`.
const EDGES: &[(&str, &[&str])] = &[
    ("kernels", &[]),
    ("runtime", &["pocketnn-kernels"]),
    ("importer", &["pocketnn-kernels", "pocketnn"]),
    ("cli", &["pocketnn-kernels", "pocketnn", "pocketnn-importer", "pocketnn-models"]),
    // Its tests turn on its own features.
    ("models", &["pocketnn-kernels", "pocketnn", "pocketnn-importer", "pocketnn-models"]),
];

/// What an app that links the runtime must not carry.
const NOT_IN_RUNTIME: &[&str] = &[
    "protobuf",
    "onnx-protobuf",
    "hdf5-reader",
    "zip",
    "flate2",
    "clap",
    "image",
    "indicatif",
    "ureq",
    "pocketnn-importer",
];

/// Calls that end in a panic, and casts that cut: not in the importer.
const NOT_IN_IMPORTER: &[&str] = &[
    ".unwrap()",
    ".expect(",
    "panic!",
    "unreachable!",
    "todo!",
    "unimplemented!",
    "assert!",
    "assert_eq!",
    "as usize",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// Files of the workspace with these suffixes: path from the root with `/`, and text.
fn files(suffixes: &[&str]) -> Vec<(String, String)> {
    fn visit(folder: &Path, root: &Path, suffixes: &[&str], out: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_string();
            if path.is_dir() {
                let skipped = name == "target" || (name.starts_with('.') && name != ".ci");
                if !skipped {
                    visit(&path, root, suffixes, out);
                }
            } else if suffixes.iter().any(|s| name.ends_with(s)) {
                let relative = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
                out.push((relative, fs::read_to_string(&path).expect("text")));
            }
        }
    }
    let mut out = Vec::new();
    visit(&root(), &root(), suffixes, &mut out);
    out.sort();
    assert!(!out.is_empty());
    out
}

/// The same text with comments, strings and characters blanked, so that only code is left. Lines stay where they are.
fn code(text: &str) -> String {
    let b: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let at = |i: usize| b.get(i).copied().unwrap_or('\0');
    let blank = |out: &mut String, c: char| out.push(if c == '\n' { '\n' } else { ' ' });
    let mut i = 0;
    while i < b.len() {
        let raw_hashes = || {
            let start = i + usize::from(at(i) == 'b') + 1;
            let hashes = (start..b.len()).take_while(|&j| at(j) == '#').count();
            (at(start + hashes) == '"' && at(start - 1) == 'r').then_some(hashes)
        };
        let word_before = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
        let end = if at(i) == '/' && at(i + 1) == '/' {
            (i..b.len()).find(|&j| b[j] == '\n').unwrap_or(b.len())
        } else if at(i) == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            let mut j = i;
            loop {
                match (at(j), at(j + 1)) {
                    ('/', '*') => (depth, j) = (depth + 1, j + 2),
                    ('*', '/') => (depth, j) = (depth - 1, j + 2),
                    _ => j += 1,
                }
                if depth == 0 || j >= b.len() {
                    break j;
                }
            }
        } else if !word_before && (at(i) == 'r' || (at(i) == 'b' && at(i + 1) == 'r')) && raw_hashes().is_some() {
            let hashes = raw_hashes().unwrap_or(0);
            let mut j = i + 2 + hashes + usize::from(at(i) == 'b');
            while j < b.len() && !(b[j] == '"' && (1..=hashes).all(|k| at(j + k) == '#')) {
                j += 1;
            }
            j + 1 + hashes
        } else if at(i) == '"' {
            let mut j = i + 1;
            while j < b.len() && b[j] != '"' {
                j += if b[j] == '\\' { 2 } else { 1 };
            }
            j + 1
        } else if at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            // A character; lifetimes have no quote behind their first letter.
            let mut j = i + if at(i + 1) == '\\' { 3 } else { 2 };
            while j < b.len() && b[j] != '\'' {
                j += 1;
            }
            j + 1
        } else {
            i
        };
        if end > i {
            (i..end.min(b.len())).for_each(|j| blank(&mut out, b[j]));
            i = end;
        } else {
            out.push(b[i]);
            i += 1;
        }
    }
    out
}

/// Code without the modules and functions under `#[cfg(test)]`, which are blanked.
fn shipped(code: &str) -> String {
    let mut out = code.to_string();
    while let Some(start) = out.find("#[cfg(test)]") {
        let rest = &out[start..];
        let (brace, semicolon) = (rest.find('{'), rest.find(';'));
        let length = match (brace, semicolon) {
            (Some(b), s) if s.is_none_or(|s| b < s) => {
                let mut depth = 0;
                let closing = rest[b..].char_indices().find(|&(_, c)| {
                    depth += i32::from(c == '{') - i32::from(c == '}');
                    depth == 0
                });
                b + closing.map_or(rest.len() - b, |(at, _)| at + 1)
            }
            (_, Some(s)) => s + 1,
            _ => rest.len(),
        };
        let blanked: String = out[start..start + length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..start + length, &blanked);
    }
    out
}

/// Lines (from 1) where a word or phrase stands as a whole.
fn lines_with<'a>(code: &'a str, phrase: &'a str) -> impl Iterator<Item = usize> + 'a {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.lines().enumerate().filter_map(move |(i, line)| {
        let whole = line.match_indices(phrase).any(|(at, _)| {
            let begins = phrase.starts_with(|c: char| c.is_alphanumeric()) && word(line[..at].chars().next_back());
            let ends =
                phrase.ends_with(|c: char| c.is_alphanumeric()) && word(line[at + phrase.len()..].chars().next());
            !begins && !ends
        });
        whole.then_some(i + 1)
    })
}

fn allowed(path: &str, places: &[&str]) -> bool {
    places.iter().any(|p| match p.strip_prefix('*') {
        Some(end) => path.ends_with(end),
        None if p.ends_with('/') => path.starts_with(p),
        None => path == *p,
    })
}

fn report(rule: &str, violations: &[String]) {
    let mut text = String::new();
    violations.iter().for_each(|v| writeln!(text, "  {v}").expect("a string"));
    assert!(violations.is_empty(), "{rule}: {} violations\n{text}", violations.len());
}

#[test]
fn files_are_short() {
    let long = |(path, text): (String, String)| {
        let n = text.lines().count();
        (n > MAX_LINES).then(|| format!("{path}: {n} lines"))
    };
    let found: Vec<String> = files(&[".rs"]).into_iter().filter_map(long).collect();
    report(&format!("a file has at most {MAX_LINES} lines"), &found);
}

#[test]
fn unsafe_stands_where_it_may_and_says_why() {
    let mut found = Vec::new();
    for (path, text) in files(&[".rs"]) {
        let bare = code(&text);
        let lines: Vec<&str> = text.lines().collect();
        for n in lines_with(&bare, "unsafe") {
            if !allowed(&path, UNSAFE) {
                found.push(format!("{path}:{n}: unsafe is not allowed here"));
            }
            let line = bare.lines().nth(n - 1).unwrap_or_default();
            let needs = (line.contains("unsafe {") && !line.contains("macro")) || line.contains("unsafe impl");
            let near = &lines[n.saturating_sub(12)..n];
            if needs && !near.iter().any(|l| l.contains("SAFETY:")) {
                found.push(format!("{path}:{n}: no SAFETY: line above"));
            }
        }
    }
    report("unsafe code has its modules and its reasons", &found);
}

#[test]
fn the_processor_is_named_in_isa_only() {
    let mut found = Vec::new();
    for (path, text) in files(&[".rs"]) {
        let bare = code(&text);
        for phrase in ["target_arch", "target_feature", "core::arch", "std::arch", "is_x86_feature_detected"] {
            if !allowed(&path, ARCHITECTURE) {
                found.extend(lines_with(&bare, phrase).map(|n| format!("{path}:{n}: {phrase}")));
            }
        }
    }
    report("architecture-specific code stands in kernels/src/isa", &found);
}

/// Names under the tables of a manifest whose header ends in `dependencies`.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            inside = header.ends_with("dependencies");
            if let Some((_, name)) = header.split_once("dependencies.") {
                names.push(name.to_string());
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            names.push(line.split(['=', '.', ' ']).next().unwrap_or_default().to_string());
        }
    }
    names
}

#[test]
fn dependencies_run_one_way() {
    let mut found = Vec::new();
    for (folder, may) in EDGES {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        let ours = dependencies(&manifest).into_iter().filter(|d| d.starts_with("pocketnn"));
        found.extend(ours.filter(|d| !may.contains(&d.as_str())).map(|d| format!("{folder} uses {d}")));
    }
    report("kernels <- runtime <- importer <- cli", &found);
}

/// Package to the names of its dependencies, from the lock file.
fn locked() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(root().join("Cargo.lock")).expect("the lock file");
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in text.split("[[package]]").skip(1) {
        let name = package.lines().find_map(|l| l.strip_prefix("name = \"")?.strip_suffix('"')).expect("a name");
        let uses = package.lines().filter_map(|l| l.strip_prefix(" \"")?.split(['"', ' ']).next());
        all.entry(name.to_string()).or_default().extend(uses.map(str::to_string));
    }
    all
}

#[test]
fn the_runtime_is_light() {
    let all = locked();
    let mut seen = BTreeSet::new();
    let mut open = vec!["pocketnn".to_string()];
    while let Some(name) = open.pop() {
        if seen.insert(name.clone()) {
            open.extend(all.get(&name).into_iter().flatten().cloned());
        }
    }
    assert!(seen.contains("pocketnn-kernels") && seen.contains("safetensors"), "{seen:?}");
    let found: Vec<String> = NOT_IN_RUNTIME.iter().filter(|n| seen.contains(**n)).map(ToString::to_string).collect();
    report("an app that links the runtime does not carry importers", &found);
}

#[test]
fn the_importer_does_not_panic_or_cut_numbers() {
    let mut found = Vec::new();
    for (path, text) in files(&[".rs"]) {
        let tests = path.ends_with("tests.rs") || path.contains("/tests/");
        if !path.starts_with("importer/src/") || tests {
            continue;
        }
        let bare = shipped(&code(&text));
        for phrase in NOT_IN_IMPORTER {
            found.extend(lines_with(&bare, phrase).map(|n| format!("{path}:{n}: {phrase}")));
        }
    }
    let lib = fs::read_to_string(root().join("importer/src/lib.rs")).expect("the importer");
    if !lib.contains("#![forbid(unsafe_code)]") {
        found.push("importer/src/lib.rs: no #![forbid(unsafe_code)]".to_string());
    }
    report("the importer answers every input with a value or an error", &found);
}

#[test]
fn the_op_table_is_sorted() {
    let text = fs::read_to_string(root().join("runtime/src/ops/mod.rs")).expect("the op table");
    let table = text.rsplit_once("op_table! {").and_then(|(_, t)| t.split_once('}')).expect("the table").0;
    let rows: Vec<(&str, Vec<&str>)> = table
        .split(';')
        .filter_map(|row| row.split_once(':'))
        .map(|(family, names)| (family.trim(), names.split_whitespace().collect()))
        .collect();
    assert!(rows.len() > 8, "the table was not found");
    let mut found = Vec::new();
    if !rows.is_sorted_by_key(|r| r.0) {
        found.push("families".to_string());
    }
    found.extend(rows.iter().filter(|r| !r.1.is_sorted()).map(|r| r.0.to_string()));
    report("families and ops stand in alphabetical order", &found);
}

#[test]
fn every_naive_twin_is_held_against_its_kernels() {
    let folder = root().join("kernels/src/reference");
    let tests: Vec<String> =
        files(&[".rs"]).into_iter().map(|f| f.0).filter(|p| p.starts_with("tests/tests/")).collect();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the twins") {
        let name = entry.expect("an entry").file_name().to_string_lossy().replace(".rs", "");
        // `window` has no kernel of its own: it is the geometry that convolution and pooling share.
        if !["mod", "window"].contains(&name.as_str()) && !tests.iter().any(|t| t.contains(&format!("kernels_{name}")))
        {
            found.push(format!("kernels/src/reference/{name}.rs: no tests/tests/kernels_{name}.rs"));
        }
    }
    found.sort();
    report("every family is tested against its twin", &found);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here so that this file does not name what it looks for.
    let marks = ["TO".to_string() + "DO", "FIX".to_string() + "ME", "XX".to_string() + "X", "HA".to_string() + "CK"];
    let mut found = Vec::new();
    for (path, text) in files(&[".rs", ".md", ".toml", ".sh", ".py", "run"]) {
        for mark in &marks {
            found.extend(lines_with(&text, mark).map(|n| format!("{path}:{n}: {mark}")));
        }
    }
    report("what is left to do is an issue, not a comment", &found);
}

#[test]
fn code_is_told_from_text() {
    let text = "a /* b /* c */ d */ e \"f\\\"g\" 'h' '\\'' 'i: r#\"j\"k\"# l // m\nn";
    let words: Vec<String> = code(text).split_whitespace().map(str::to_string).collect();
    assert_eq!(words, ["a", "e", "'i:", "l", "n"]);
    let tested = "x(); #[cfg(test)] mod t { y { } } z(); #[cfg(test)] mod u; w();";
    let left: Vec<String> = shipped(tested).split_whitespace().map(str::to_string).collect();
    assert_eq!(left, ["x();", "z();", "w();"]);
    assert_eq!(lines_with("unsafe_code\n unsafe {", "unsafe").collect::<Vec<_>>(), [2]);
}
