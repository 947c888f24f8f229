// SPDX-License-Identifier: GPL-2.0-or-later
//! Scenes played to systemd and to ssi-init: what their scripts see is the same.
//!
//! One scene alone: `SCENE=restart cargo test -p ssi-init-manager --test beside_systemd -- --nocapture`.

mod stage;

use std::path::PathBuf;
use std::sync::Mutex;

use stage::{Player, Scene, can_be_played, play};

#[test]
fn what_units_do_is_what_they_do_under_systemd() {
    if !can_be_played() {
        return;
    }
    let wanted = std::env::var("SCENE").ok();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenes");
    let mut scenes: Vec<Scene> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "scene"))
        .map(|path| Scene::read(&path))
        .filter(|scene| wanted.as_ref().is_none_or(|wanted| *wanted == scene.name))
        .collect();
    scenes.sort_by(|a, b| b.name.cmp(&a.name));
    assert!(!scenes.is_empty(), "there is no scene to play");
    let troubles: Mutex<Vec<String>> = Mutex::default();
    let scenes = Mutex::new(scenes);
    // Two at a time: most of a scene is waiting.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let Some(scene) = scenes.lock().unwrap().pop() else { break };
                    let [there, here] = [Player::Systemd, Player::SsiInit].map(|player| play(&scene, player));
                    assert!(
                        there.finished,
                        "{} does not end under systemd:\n{}\n{}",
                        scene.name, there.seen, there.console
                    );
                    if !here.finished || here.seen != there.seen {
                        troubles.lock().unwrap().push(format!(
                            "=== {}{}\n--- systemd saw\n{}--- ssi-init saw\n{}--- console of ssi-init\n{}",
                            scene.name,
                            if here.finished { "" } else { " (did not come to its end)" },
                            there.seen,
                            here.seen,
                            here.console
                        ));
                    }
                }
            });
        }
    });
    let troubles = troubles.into_inner().unwrap();
    assert!(troubles.is_empty(), "{}", troubles.join("\n"));
}
