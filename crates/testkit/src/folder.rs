//! Folders of a test's own, and programs that run in them.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder that is empty at first, and gone when the test is over.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Of this name, which no other test of the program has.
    pub fn new(name: &str) -> Folder {
        let program = std::env::current_exe().unwrap_or_default();
        let program = program.file_stem().unwrap_or_default().to_string_lossy();
        let path = std::env::temp_dir().join(format!("kiln-{program}-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Its own path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a name in it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, in folders that needn't be there.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// What a file holds.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.at(name)).unwrap()
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A program that is run in a folder, as a person would.
#[derive(Debug)]
pub struct Program {
    path: &'static str,
    folder: Folder,
}

impl Deref for Program {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.folder
    }
}

impl Program {
    /// The program at a path (`env!("CARGO_BIN_EXE_kiln")`), in a folder of this name.
    pub fn new(path: &'static str, name: &str) -> Program {
        Program { path, folder: Folder::new(name) }
    }

    /// It with these arguments, not yet begun.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path);
        command.args(arguments).current_dir(&self.folder).env_remove("KILN_THREADS");
        command
    }

    /// How it ended.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints, where it must succeed.
    pub fn out(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, errors) = texts(&output);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        out
    }

    /// What it says where it must fail, with the exit code.
    pub fn error(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        let (_, errors) = texts(&output);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        assert!(!errors.contains("panicked"), "{arguments:?}: {errors}");
        // Who gives a command is told of files and flags, not of lines of its source.
        assert!(!errors.contains("crates/") && !errors.contains(".rs:"), "{arguments:?}: {errors}");
        (output.status.code().unwrap(), errors)
    }
}

/// What a program printed: its output and its errors.
pub fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
