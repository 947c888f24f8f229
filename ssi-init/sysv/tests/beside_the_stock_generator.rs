// SPDX-License-Identifier: GPL-2.0-or-later
//! The same scripts given to systemd's own generator and to ours make the same tree of units.
//!
//! Both read where to look from the same three variables, so most scenes need no privileges; one scene is mounted over
//! the real /etc in a namespace of its own, so that the built-in paths are held to account too. Where systemd 252 is not
//! installed, ours runs alone, and a line says that nothing was compared.

mod packages;
mod scene;

use proptest::prelude::*;
use scene::Scene;

const BLOCK: &str = "### BEGIN INIT INFO\n# Provides: {}\n# Required-Start: $remote_fs $syslog\n\
                     # Short-Description: the service\n### END INIT INFO\n";

fn block(name: &str) -> String {
    BLOCK.replace("{}", name)
}

#[test]
fn nothing_to_do_leaves_no_trace() {
    let scene = Scene::new();
    scene.compare();
    assert_eq!(scene.ours(), Default::default());
}

#[test]
fn every_line_of_the_block() {
    let scene = Scene::new();
    scene.script(
        "foo",
        "#!/bin/sh\n### BEGIN INIT INFO\n\
         # Provides: foo bar b%z foo+ $remote_fs $network $custom $local_fs baz.target x.socket a/b \"quoted one\" foo.sh\n\
         # Required-Start: $local_fs $network foo other.sh $time\n#   not: more\n\
         # Should-Start: $portmap $named $we+ird +all /dev/sda /srv/x x@y @z \"\" $ $@ $a@b\n\
         # X-Start-Before: $network cron $local_fs\n# X-Start-After: late back\\slash\n# X-Start-Before : no\n\
         # Required-Stop: z\n# Default-Start: 2 3 4 5\n# Description: Long one %n\n#    more words\n\
         # Short-Description: Short 100% %h\n### END INIT INFO\n# pidfile: /run/foo%.pid\n\
         echo \"Usage: $0 {start|stop|reload|force-reload}\"\n",
    );
    scene.script(
        "lower",
        "   ### BEGIN INIT INFO  \n #  required-START: $NETWORK $network 'open end\n ### END INIT INFO",
    );
    scene.script(
        "twice",
        "### BEGIN INIT INFO\n# Required-Start: a\n### END INIT INFO\n### BEGIN INIT INFO\n# Should-Start: b\n",
    );
    scene.script("trail", "### BEGIN INIT INFO\n# Required-Start: a twice trail trail.sh \\");
    scene.compare();
}

#[test]
fn descriptions_of_each_kind() {
    let scene = Scene::new();
    scene.script("a", "# description: first \\\n#   second \\\n not a comment\n#\n#third");
    scene.script("b", "# description: \\\n# \\\n#\\\n#e\n");
    scene.script(
        "c",
        "### BEGIN INIT INFO\n# Description: one\n#  two\n#\tthree  \n#  \n#    four\n# Short-Description:\n",
    );
    scene.script(
        "d",
        "### BEGIN INIT INFO\n# Description: one\n # two\n#  three\n### END INIT INFO\n# DESCRIPTION:  \n",
    );
    scene.script("e", "### BEGIN INIT INFO\n# description: lower\n### BEGIN INIT INFO\n# short-description: S\\\n");
    scene.script("f", "### BEGIN INIT INFO\r\n# Provides: crlf\r\n# Short-Description: S\r\n### END INIT INFO\r\n");
    scene.script(
        "g",
        b"### BEGIN INIT INFO\n# Short-Description: S\xff\xfe\x01\n# Provides: n\xff\0x\n\0\n\r# Description: q",
    );
    scene.script("h", "");
    scene.compare();
}

#[test]
fn pid_files_and_reload() {
    let scene = Scene::new();
    scene.script("a", "# pidfile: relative.pid\n# pidfile:/run/a\n# PIDFILE: /run/b c\n");
    scene.script("b", "Usage \\\n x \\\n '{start|RELOAD\"x'");
    scene.script("c", "Usage \\\n# {reload|\n\n{reload|\n");
    scene.script("d", "### BEGIN INIT INFO\nusage {reload}\n### END INIT INFO");
    scene.script("e", "usage (reload)\nusage: |reload|");
    scene.script("f", "usage: start\\\n### BEGIN INIT INFO\n# Short-Description: not read\n### END INIT INFO\n");
    scene.compare();
}

#[test]
fn links_of_the_run_levels() {
    let scene = Scene::new();
    for name in ["one", "two", "three.sh", "four"] {
        scene.script(name, block(name));
    }
    for name in ["old", "older", "oldest"] {
        scene.script(name, "#!/bin/sh\n");
    }
    for link in [
        "rc1.d/S01one",
        "rc2.d/S01one",
        "rc3.d/S09one",
        "rc4.d/S01one",
        "rc5.d/S01one",
        "rc2.d/S02two",
        "rc2.d/S03two",
        "rc5.d/S04three.sh",
        "rc0.d/S01four",
        "rc6.d/K01four",
        "rcS.d/S01four",
        "rc2.d/K01four",
        "rc3.d/s01four",
        "rc3.d/S1xfour",
        "rc3.d/S01",
        "rc3.d/S01four~",
        "rc3.d/README",
        "rc3.d/S05gone",
        "rc2.d/S20old",
        "rc3.d/S10older",
        "rc2.d/S05older",
        "rc5.d/S10oldest",
    ] {
        scene.link(link);
    }
    scene.compare();
    assert!(scene.ours().contains_key("rescue.target.wants/one.service"));
}

#[test]
fn what_is_left_out() {
    let scene = Scene::new();
    let names = [
        ".hidden",
        "a~",
        "b.bak",
        "c.dpkg-new",
        "d.tmp",
        "e.orig",
        "f.ucf-dist",
        "g.rpmsave",
        "h.swp",
        "lost+found",
        "i.old",
        "native",
        "masked",
        "mask2",
        "alias",
        "broken",
        "elsewhere",
        "gone",
        "empty",
        "folder",
        "second",
        "loop",
        "below",
        "inst@x",
        "other@y",
        "tmpl@",
        "x.mount",
        "y.service",
        "z.sh.sh",
        "-dash",
        "tab\tx",
        "spa ce%",
        "ünï",
        "back\\x2d",
    ];
    for name in names {
        scene.script(name, block(name));
    }
    scene.plain_file("init.d/README", "not executable");
    scene.folder("init.d/sub");
    scene.symlink("init.d/dangling", "/nonexistent");
    scene.symlink("init.d/linked", "native");
    scene.plain_file("units/native.service", "");
    scene.plain_file("units/empty.service", "");
    scene.plain_file("units2/second.service", "[Unit]\n");
    scene.plain_file("units/inst@.service", "");
    scene.plain_file("units/tmpl@.service", "");
    scene.plain_file("units/x.mount", "");
    scene.folder("units/folder.service");
    scene.folder("units/d.service.d");
    for (link, target) in [
        ("masked", "/dev/null"),
        ("mask2", "masked.service"),
        ("alias", "native.service"),
        ("broken", "nobody.service"),
        ("elsewhere", "/etc/passwd"),
        ("gone", "/nonexistent/x.service"),
        ("loop", "loop.service"),
        ("below", "sub/x"),
    ] {
        scene.symlink(&format!("units/{link}.service"), target);
    }
    scene.compare();
    let ours = scene.ours();
    assert!(
        ours.contains_key("gone.service") && ours.contains_key("d.tmp.service") && ours.contains_key("linked.service")
    );
    for native in ["masked", "alias", "broken", "second", "inst@x", "empty"] {
        assert!(!ours.contains_key(&format!("{native}.service")), "{native}");
    }
}

#[test]
fn names_that_several_claim() {
    let scene = Scene::new();
    scene.script("foo", block("foo common bar"));
    scene.script("bar", block("bar common"));
    scene.script("baz", block("foo"));
    scene.compare();
}

#[test]
fn one_impossible_name_does_not_cost_the_others() {
    let scene = Scene::new();
    scene.script("@foo", block("foo"));
    scene.script("bar", block("bar"));
    // systemd's own fails as a whole here, so there is nothing to compare with.
    assert_eq!(scene.ours().keys().collect::<Vec<_>>(), ["bar.service"]);
}

#[test]
fn what_another_generator_wrote_is_not_written_through() {
    let scene = Scene::new();
    scene.script("foo", block("foo taken"));
    scene.plain_file("precious", "untouched");
    scene.symlink("late/foo.service", "../precious");
    scene.plain_file("late/taken.service", "another generator's");
    scene.run_ours("late").expect("writes");
    let tree = scene.tree("late");
    assert!(tree["foo.service"].contains("ExecStart="));
    assert_eq!(tree["taken.service"], "another generator's");
    assert_eq!(scene.read("precious"), "untouched");
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let scene = Scene::new();
    scene.script("foo", block("foo"));
    scene.plain_file("late", "a file is in the way");
    let said = scene.run_ours("late").expect_err("must fail");
    assert!(said.contains("cannot write") && said.contains("late"), "{said}");
}

#[test]
fn the_built_in_paths() {
    let scene = Scene::new();
    scene.script("foo", block("foo other"));
    scene.script("native", block("native"));
    scene.link("rc2.d/S01foo");
    scene.plain_file("etc/systemd/system/native.service", "");
    scene.compare_mounted_over_etc();
}

#[test]
fn the_scripts_of_debians_packages() {
    let Some(cache) = packages::scripts() else { return };
    for with_native_units in [false, true] {
        let scene = Scene::new();
        let scripts = scene.install(&cache, with_native_units);
        println!("{} scripts, with native units: {with_native_units}", scripts.len());
        assert!(scripts.len() >= 40, "the packages hold fewer scripts than they should: {scripts:?}");
        scene.compare();
        let made = scene.ours().keys().filter(|name| !name.contains('/')).count();
        println!("{made} units and aliases");
        assert!(made > 0);
    }
}

/// Pieces of scripts that mean something, to be put together by chance.
fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "Provides:",
        "Required-Start:",
        "Should-Start:",
        "X-Start-Before:",
        "X-Start-After:",
        "Description:",
        "Short-Description:",
        "description:",
        "pidfile:",
        "required-start:",
        "Default-Start:",
    ]);
    let word = prop::sample::select(vec![
        "$network",
        "$remote_fs",
        "$named",
        "network",
        "$x",
        "s0",
        "s1",
        "s2.sh",
        "other",
        "a+b",
        "/dev/x",
        "/run/p",
        "\"q",
        "'",
        "\\",
        "x@y",
        "%n",
        "$",
        "",
        "t.target",
        "u.socket",
        "\t",
        "-",
        "s3",
    ]);
    let words = prop::collection::vec(word, 0..4).prop_map(|words| words.join(" "));
    let indent = prop::sample::select(vec!["# ", "#", " # ", "#  ", "#\t", "", "## "]);
    prop_oneof![
        3 => (indent.clone(), key, words.clone()).prop_map(|(indent, key, words)| format!("{indent}{key} {words}")),
        2 => (indent, words).prop_map(|(indent, words)| format!("{indent}{words}")),
        1 => Just("### BEGIN INIT INFO".to_owned()),
        1 => Just("### END INIT INFO".to_owned()),
        1 => prop::sample::select(vec!["usage {start|reload}", "Usage: \\", "|reload|", "echo", "", "#", "# \\"])
            .prop_map(str::to_owned),
    ]
}

fn script_text() -> impl Strategy<Value = String> {
    let end = prop::sample::select(vec!["\n", "\n", "\n", "\r\n", "\n\n", "\0"]);
    (any::<bool>(), prop::collection::vec((line(), end), 0..14)).prop_map(|(in_block, lines)| {
        let mut text = if in_block { "### BEGIN INIT INFO\n".to_owned() } else { String::new() };
        text.extend(lines.into_iter().map(|(line, end)| line + end));
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn texts_by_chance(
        texts in prop::collection::vec(script_text(), 1..6),
        links in prop::collection::vec((0..7usize, 0..5u8, 0..6usize), 0..8),
    ) {
        let scene = Scene::new();
        let names = ["s0", "s1", "s2.sh", "s3", "s4+x", "s5"];
        for (name, text) in names.iter().zip(&texts) {
            scene.script(name, text);
        }
        for (level, priority, script) in links {
            scene.link(&format!("rc{level}.d/S{priority:02}{}", names[script]));
        }
        scene.compare();
    }
}
