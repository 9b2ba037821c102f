//! Ctrl-C: nothing half-made stays, and the same command goes on.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    files::{noise, sha256, snapshot},
    product::Product,
    run::{Outcome, find_program, run},
};

/// What a terminal does on Ctrl-C: the whole process group gets the signal.
fn interrupt(child: &Child) {
    signal("-INT", child);
}

fn signal(signal: &str, child: &Child) {
    let group = format!("-{}", child.id());
    // A group that has ended already cannot be signalled.
    run(Command::new("kill").args([signal, "--", &group]));
}

fn start(product: &Product) -> Child {
    let mut command = product.command(&["release", "1.0.0"]);
    command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn end(product: &Product, child: Child) -> Outcome {
    let output = child.wait_with_output().unwrap();
    Outcome::of(&product.command(&["release", "1.0.0"]), &output)
}

/// Files that a release writes to before it gives them their names.
fn partial(directory: &Path) -> Vec<PathBuf> {
    let is_partial = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(".partial-");
    snapshot(directory).into_keys().filter(is_partial).collect()
}

/// A product with a good bundle of its last commit, and something else to release now.
fn with_good_bundle(bytes: usize) -> (Product, String) {
    let product = Product::new();
    let good = product.release(&[]).bundles[0].sha256.clone();
    product.write("shared/data", noise(1, bytes));
    product.commit("much data");
    (product, good)
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn ctrl_c_while_packing_leaves_the_old_bundle_and_no_remains() {
    let (product, good) = with_good_bundle(96 << 20);
    let child = start(&product);
    let started = Instant::now();
    // Packing writes a hidden file in dist/.
    let is_packing = || {
        fs::read_dir(product.path("dist")).unwrap().any(|entry| {
            let entry = entry.unwrap();
            entry.file_name().to_string_lossy().starts_with(".partial-")
                && entry.metadata().is_ok_and(|file| file.len() > 1 << 20)
        })
    };
    while !is_packing() {
        assert!(started.elapsed() < Duration::from_secs(120), "packing never began");
        thread::sleep(Duration::from_millis(1));
    }
    interrupt(&child);
    end(&product, child).expect(130).says("error: interrupted");
    assert_eq!(sha256(&product.bundle()), good);
    assert_eq!(partial(product.root()), [""; 0].map(PathBuf::from));

    let finished = product.release(&[]);
    assert_ne!(finished.bundles[0].sha256, good);
    assert_eq!(sha256(&product.bundle()), finished.bundles[0].sha256);
    let key = product.public.to_string();
    product
        .run(&["bundle", "verify", "dist/acme-update-1.0.0.tar.gz", "--trust", &key])
        .expect(0);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn ctrl_c_while_building_leaves_the_old_bundle() {
    let (product, good) = with_good_bundle(1 << 20);
    let mut child = start(&product);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let building = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.ends_with("building images"));
    assert!(building, "the build never began");
    interrupt(&child);
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(
        rest.iter().any(|line| line.starts_with("error: interrupted")),
        "{rest:?}"
    );
    assert_eq!(sha256(&product.bundle()), good);
    product.release(&[]);
    assert_ne!(sha256(&product.bundle()), good);
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_killed_release_is_finished_by_the_next() {
    let (product, good) = with_good_bundle(8 << 20);
    // Nothing can be done about SIGKILL, at any moment.
    for moment in 1..=8 {
        let mut child = start(&product);
        thread::sleep(Duration::from_millis(moment * 200));
        signal("-KILL", &child);
        child.wait().unwrap();
        if sha256(&product.bundle()) != good {
            break;
        }
    }
    let finished = product.release(&[]);
    assert_eq!(finished.digests(), product.clone_elsewhere().release(&[]).digests());
    assert_eq!(partial(product.root()), [""; 0].map(PathBuf::from));
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn two_releases_at_once_wait_for_each_other() {
    let product = Product::new();
    let children: Vec<_> = (0..3).map(|_| start(&product)).collect();
    let outcomes: Vec<_> = children
        .into_iter()
        .map(|child| end(&product, child).expect(0))
        .collect();
    let waited = outcomes
        .iter()
        .filter(|outcome| outcome.stderr.contains("waiting for another release"))
        .count();
    assert!(waited >= 1, "{outcomes:?}");
    let unchanged = outcomes
        .iter()
        .filter(|outcome| outcome.stderr.contains("nothing changed"))
        .count();
    assert_eq!(unchanged, 2, "{outcomes:?}");
}

/// A build that is killed while BuildKit commits a snapshot leaves a record of one that is not there, and every later
/// build that uses it fails, the same way each time. It takes luck to make one, so its words are made here.
#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn a_build_cache_that_a_killed_build_damaged_is_gone_around() {
    let product = Product::new();
    let docker = find_program("docker");
    let programs = tempfile::tempdir().unwrap();
    let script = format!(
        "#!/bin/sh\ncase \"$* \" in\n*' bake '*--no-cache*) ;;\n*' bake '*)\n\
         {0} \"$@\" || exit\n\
         echo 'ERROR: failed to solve: failed to commit a to b during finalize: failed to stat active key during commit: \
         snapshot a does not exist: not found' >&2\nexit 1 ;;\nesac\nexec {0} \"$@\"\n",
        docker.display()
    );
    let substitute = programs.path().join("docker");
    fs::write(&substitute, script).unwrap();
    fs::set_permissions(&substitute, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = product.command(&["release", "1.0.0"]);
    let path = command.get_envs().find(|(name, _)| *name == "PATH").unwrap().1.unwrap();
    let path = format!("{}:{}", programs.path().display(), path.to_str().unwrap());
    let outcome = run(command.env("PATH", path)).expect(0);
    outcome.says("the build cache is damaged, as a killed build leaves it; building without it");
    let (found, elsewhere) = (sha256(&product.bundle()), product.clone_elsewhere());
    elsewhere.release(&[]);
    assert_eq!(found, sha256(&elsewhere.bundle()));
}
