use std::fs;

use super::*;
use crate::architecture::house::{Crate, Library, Programs};

/// Rules for two made-up crates.
const RULES: House = House {
    crates: &[
        Crate {
            name: "top",
            uses: &["low-level"],
            floors: &[&["cli"], &["left", "right"], &["base"], &["error"], &["lib"]],
            gathers: &["error"],
        },
        Crate {
            name: "low-level",
            uses: &[],
            floors: &[],
            gathers: &[],
        },
    ],
    libraries: &[Library {
        name: "bollard",
        only: &["top/src/base/"],
    }],
    programs: &[Programs {
        under: "top/",
        only: "top/src/base/process.rs",
    }],
    most_entries: 6,
};

/// Writes `files` of the crates `top` and `low-level`, and gives the first lines and the places of what is found.
#[track_caller]
fn check(files: &[(&str, &str)], expected: &[&str]) {
    check_with(&["low-level"], &[], files, expected);
}

#[track_caller]
fn check_with(top_uses: &[&str], low_uses: &[&str], files: &[(&str, &str)], expected: &[&str]) {
    let root = tempfile::tempdir().unwrap();
    let defaults = [("top/src/lib.rs", ""), ("low-level/src/lib.rs", "")];
    for (path, text) in defaults.iter().chain(files) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let member = |name: &str, uses: &[&str]| Member {
        name: name.to_owned(),
        directory: PathBuf::from(name),
        dependencies: uses.iter().map(|name| (*name).to_owned()).collect(),
    };
    let members = [member("top", top_uses), member("low-level", low_uses)];
    let found = findings(root.path(), &members, &RULES).unwrap();
    let lines: Vec<_> = found
        .iter()
        .flat_map(|finding| std::iter::once(&finding.what).chain(&finding.places))
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn two_files_that_import_each_other_are_a_circle() {
    check(
        &[
            ("low-level/src/lib.rs", "mod a;\nmod b;"),
            ("low-level/src/a.rs", "use crate::b::B;\npub(crate) struct A;"),
            (
                "low-level/src/b.rs",
                "\npub(crate) fn b(_: super::a::A) {}\npub(crate) struct B;",
            ),
        ],
        &[
            "circle: 2 files of `low-level` import each other",
            "low-level/src/a.rs:1 takes `B` from low-level/src/b.rs",
            "low-level/src/b.rs:2 takes `A` from low-level/src/a.rs",
        ],
    );
}

#[test]
fn a_circle_may_go_through_others() {
    check(
        &[
            ("low-level/src/lib.rs", "mod a;\nmod b;\nmod c;\nmod d;"),
            ("low-level/src/a.rs", "use crate::{b, d::D};\nfn a() { b::b() }"),
            (
                "low-level/src/b.rs",
                "pub(crate) fn b() { println!(\"{}\", crate::c::c()) }",
            ),
            (
                "low-level/src/c.rs",
                "#[serde(with = \"crate::a::format\")]\npub(crate) struct C;",
            ),
            ("low-level/src/d.rs", "pub(crate) struct D;"),
        ],
        &[
            "circle: 3 files of `low-level` import each other",
            "low-level/src/a.rs:2 takes `b` from low-level/src/b.rs",
            "low-level/src/b.rs:1 takes `c` from low-level/src/c.rs",
            "low-level/src/c.rs:1 takes `format` from low-level/src/a.rs",
        ],
    );
}

#[test]
fn a_child_and_its_parent_can_be_a_circle() {
    let child = "use super::Parent;\npub(crate) struct Child(Parent);";
    let circle = [
        "circle: 2 files of `low-level` import each other",
        "low-level/src/a/child.rs:1 takes `Parent` from low-level/src/a/mod.rs",
        "low-level/src/a/mod.rs:3 takes `Child` from low-level/src/a/child.rs",
    ];
    let parent = "mod child;\npub(crate) struct Parent;\nfn new(_: child::Child) {}";
    let files = |parent| {
        [
            ("low-level/src/lib.rs", "mod a;"),
            ("low-level/src/a/mod.rs", parent),
            ("low-level/src/a/child.rs", child),
        ]
    };
    check(&files(parent), &circle);
    // To pass a name on is no use of it; to name it afterwards is one.
    check(
        &files("mod child;\npub(crate) struct Parent;\npub(crate) use child::Child;"),
        &[],
    );
    let both = "mod child; pub(crate) use child::Child;\npub(crate) struct Parent;\nfn new(_: Child) {}";
    check(&files(both), &circle);
}

#[test]
fn a_name_is_taken_from_the_file_that_defines_it() {
    check(
        &[
            ("low-level/src/lib.rs", "mod a;\nmod b;\npub use a::inner::Thing;"),
            (
                "low-level/src/a/mod.rs",
                "pub(crate) mod inner;\npub(crate) use inner::Thing as Other;",
            ),
            ("low-level/src/a/inner.rs", "use crate::b::B;\npub struct Thing(B);"),
            (
                "low-level/src/b.rs",
                "use crate::a;\npub(crate) struct B;\nfn b(_: a::Other, _: crate::Thing) {}",
            ),
        ],
        &[
            "circle: 2 files of `low-level` import each other",
            "low-level/src/a/inner.rs:1 takes `B` from low-level/src/b.rs",
            "low-level/src/b.rs:3 takes `Thing` from low-level/src/a/inner.rs",
        ],
    );
}

#[test]
fn tests_may_import_what_they_like() {
    check(
        &[
            ("low-level/src/lib.rs", "mod a;\nmod b;"),
            ("low-level/src/a.rs", "use crate::b::B;\npub(crate) struct A(B);"),
            (
                "low-level/src/b.rs",
                "pub(crate) struct B;\n#[cfg(test)]\nuse crate::a::A;\n#[cfg(test)]\nmod tests { use super::*; use crate::a::A; }\n\
                 #[test]\nfn b(_: crate::a::A) {}\n#[cfg(all(test, unix))]\nfn c(_: crate::a::A) {}",
            ),
        ],
        &[],
    );
}

#[test]
fn imports_run_down_only() {
    let files = |left| {
        [
            (
                "top/src/lib.rs",
                "mod base;\nmod cli;\nmod error;\nmod left;\nmod right;",
            ),
            (
                "top/src/cli.rs",
                "use crate::{base::Base, error::Error, left::Left};\npub(crate) struct Cli;",
            ),
            ("top/src/left.rs", left),
            ("top/src/right.rs", "pub(crate) struct Right;"),
            ("top/src/base.rs", "pub(crate) struct Base;"),
            ("top/src/error.rs", "pub(crate) struct Error(crate::base::Base);"),
        ]
    };
    check(&files("pub(crate) struct Left;"), &[]);
    check(
        &files("pub(crate) struct Left;\nuse crate::right::Right;"),
        &[
            "floors: `left` of `top` may not import from `right`",
            "top/src/left.rs:2 takes `Right` from top/src/right.rs",
        ],
    );
    check(
        &files("pub(crate) struct Left;\nfn up() -> Option<crate::cli::Cli> { None }"),
        &[
            "circle: 2 files of `top` import each other",
            "top/src/cli.rs:1 takes `Left` from top/src/left.rs",
            "top/src/left.rs:2 takes `Cli` from top/src/cli.rs",
            "floors: `left` of `top` may not import from `cli`",
            "top/src/left.rs:2 takes `Cli` from top/src/cli.rs",
        ],
    );
}

#[test]
fn a_module_without_a_floor_is_reported() {
    check(
        &[
            ("top/src/lib.rs", "mod base;\nmod new;"),
            ("top/src/base.rs", "pub(crate) struct Base;"),
            ("top/src/new.rs", "use crate::base::Base;"),
        ],
        &["floors: module `new` of `top` has no floor"],
    );
}

#[test]
fn crates_depend_on_those_below() {
    check_with(
        &["low-level"],
        &["top"],
        &[],
        &["crates: `low-level` may not depend on `top`"],
    );
}

#[test]
fn a_library_stays_where_it_belongs() {
    check(
        &[
            ("top/src/lib.rs", "mod base;\nmod cli;"),
            ("top/src/base/mod.rs", "use bollard::Docker;"),
            (
                "top/src/cli.rs",
                "\nfn cli(_: bollard::Docker) {}\nuse bollard as docker;",
            ),
        ],
        &[
            "libraries: `bollard` is for top/src/base/ only",
            "top/src/cli.rs:3 names `bollard`",
            "top/src/cli.rs:2 names `bollard::Docker`",
        ],
    );
}

#[test]
fn one_file_runs_programs() {
    let command = "use std::process::Command;\nfn run(mut command: Command) {\n    command.spawn();\n}";
    check(
        &[
            ("top/src/lib.rs", "mod base;\nmod cli;\nmod left;"),
            ("top/src/base/mod.rs", "mod process;"),
            ("top/src/base/process.rs", command),
            ("top/src/cli.rs", command),
            (
                "top/src/left.rs",
                "fn build() -> std::process::Command { std::process::Command::new(\"a\") }",
            ),
        ],
        &[
            "programs: only top/src/base/process.rs runs programs",
            "top/src/cli.rs:3 calls `spawn`",
        ],
    );
}

#[test]
fn the_root_of_a_crate_stays_small() {
    let files = ["a", "b", "c", "d", "e", "f"].map(|name| format!("low-level/src/{name}.rs"));
    let files: Vec<_> = files.iter().map(|file| (file.as_str(), "")).collect();
    check(&files[..5], &[]);
    check(&files, &["entries: low-level/src has 7, at most 6 are allowed"]);
}

#[test]
fn a_module_has_one_form() {
    check(
        &[("low-level/tests/a.rs", ""), ("low-level/tests/a/b.rs", "")],
        &["modules: low-level/tests/a.rs stands beside low-level/tests/a/"],
    );
}

#[test]
fn a_crate_without_rules_is_reported() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("new/src")).unwrap();
    let member = Member {
        name: "new".to_owned(),
        directory: PathBuf::from("new"),
        dependencies: Vec::new(),
    };
    let found = findings(root.path(), &[member], &RULES).unwrap();
    assert_eq!(found.first().unwrap().what, "crates: `new` has no rules");
}
