// SPDX-License-Identifier: GPL-2.0-or-later
//! Plays the scenes of `tests/scenes` in a world of units that do at once what they are asked.

mod world;

#[test]
fn every_scene_goes_as_it_says() {
    let scenes = world::scene::all();
    assert!(scenes.len() >= 20, "some scenes are missing: there are {}", scenes.len());
    let wrong: Vec<String> = scenes.iter().flat_map(world::scene::Scene::play).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
