//! A request to stop: the first waits for the end of a step, the second for nothing.

use kiln::prelude::*;

/// Asks nothing by itself: [`a_second_signal_does_what_it_does_without_kiln`] runs it as a process of its own.
#[test]
fn trains_through_signals() {
    if std::env::var_os("KILN_TEST_SIGNALS").is_none() {
        return;
    }
    struct Signals;
    impl kiln::trainer::Callback for Signals {
        fn after_step(&mut self, _: &mut kiln::trainer::Moment) -> kiln::Result<()> {
            for _ in 0..100 {
                let id = std::process::id().to_string();
                std::process::Command::new("kill").args(["-INT", &id]).status().unwrap();
                println!("still here");
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            Ok(())
        }
    }
    let model = Sequential::new().dense(2);
    let trainer = Trainer::new(model, CrossEntropy::new(), Sgd::new(0.1)).epochs(1).quiet();
    trainer.stop_on_ctrl_c().callback(Signals).fit(&data::moons(20, 0.1, 1)).unwrap();
}

/// The first one waits for the step's end; the second ends the program as the system does, and no code of kiln's.
#[test]
fn a_second_signal_does_what_it_does_without_kiln() {
    use std::os::unix::process::ExitStatusExt;
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command
        .args(["--exact", "--nocapture", "signals::trains_through_signals"])
        .env("KILN_TEST_SIGNALS", "1")
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(2), "{:?}", output.status);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("still here"), "the first was no end: {said}");
}
