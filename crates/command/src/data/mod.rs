//! `kiln data`: known sets from where they are kept.

mod fetch;
mod http;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::out;
use fetch::Wanted;

/// Download a known set
///
/// From one of several mirrors, with what was begun gone on with, and every file checked against the checksum its authors publish. Files
/// that are there already aren't fetched again. The mirrors speak plain HTTP; the checksums say that nobody changed anything.
#[derive(Args)]
#[command(after_long_help = "Examples:
  kiln data mnist && kiln train data/mnist
  kiln data fashion-mnist --dir ~/sets/fashion

KILN_MIRROR=http://host/path asks a mirror of your own instead.")]
pub struct DataFlags {
    /// Which set
    set: KnownSet,

    /// Where it goes [default: data/ and the set's name]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// The sets that are known.
#[derive(Clone, Copy, ValueEnum)]
enum KnownSet {
    /// 70,000 handwritten digits of 28 × 28
    Mnist,
    /// 70,000 pieces of clothing of 28 × 28
    FashionMnist,
    /// 60,000 colour images of 32 × 32 in ten classes
    Cifar10,
}

/// A set's folder, mirrors and files.
struct Download {
    name: &'static str,
    mirrors: &'static [&'static str],
    files: &'static [Wanted<'static>],
}

const fn file(name: &'static str, checksum: &'static str) -> Wanted<'static> {
    Wanted { name, checksum }
}

impl KnownSet {
    fn set(self) -> Download {
        match self {
            KnownSet::Mnist => Download {
                name: "mnist",
                mirrors: &[
                    "http://storage.googleapis.com/cvdf-datasets/mnist",
                    "http://ossci-datasets.s3.amazonaws.com/mnist",
                ],
                files: const {
                    &[
                        file("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
                        file("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
                        file("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
                        file("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
                    ]
                },
            },
            KnownSet::FashionMnist => Download {
                name: "fashion-mnist",
                mirrors: &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"],
                files: const {
                    &[
                        file("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
                        file("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
                        file("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
                        file("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
                    ]
                },
            },
            KnownSet::Cifar10 => Download {
                name: "cifar10",
                mirrors: &["http://www.cs.toronto.edu/~kriz"],
                files: const { &[file("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530")] },
            },
        }
    }
}

pub fn run(flags: DataFlags) -> Result<()> {
    let set = flags.set.set();
    let folder = flags.dir.unwrap_or_else(|| PathBuf::from("data").join(set.name));
    let own = std::env::var("KILN_MIRROR").ok().filter(|mirror| !mirror.is_empty());
    let mirrors: Vec<String> = match own {
        Some(mirror) => vec![mirror],
        None => set.mirrors.iter().map(|mirror| mirror.to_string()).collect(),
    };
    for wanted in set.files {
        match fetch::fetch(*wanted, &mirrors, &folder, None, false) {
            Ok(true) => out::note(format_args!("{}: fetched", wanted.name)),
            Ok(false) => out::note(format_args!("{}: there already", wanted.name)),
            Err(error) => {
                let names: Vec<&str> = set.files.iter().map(|file| file.name).collect();
                bail!(
                    "{error}\nIs there a network? By hand: put {} into {}, from wherever you have them",
                    names.join(", "),
                    folder.display()
                );
            }
        }
    }
    out::line(format_args!("{} is whole; next: kiln train {}", set.name, folder.display()))
}
