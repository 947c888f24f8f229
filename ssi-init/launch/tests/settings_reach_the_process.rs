// SPDX-License-Identifier: GPL-2.0-or-later
//! What a unit file says is what the process finds: text in, a look at the running process out. What is expected is
//! what systemd.exec(5) and systemd.service(5) of systemd 252 say of the setting.

mod scene;

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use scene::{Stage, unit};
use ssi_launch::{LaunchError, Outcome, Report};

#[test]
fn identity_and_file_modes() {
    let mut stage = Stage::new();
    let look = "id -u; id -g; id -G; umask; touch $STATE_DIRECTORY/file; stat -c %a:%u $STATE_DIRECTORY/file; \
                echo $HOME:$USER:$LOGNAME";
    let lines = "User=nobody\nGroup=daemon\nSupplementaryGroups=adm\nUMask=0027\nStateDirectory=x";
    let told = stage.told(lines, look, |_| {});
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told[..2], ["65534", "1"]);
    // "Sets the supplementary Unix groups", beside the user's own.
    assert!(told[2].split(' ').any(|gid| gid == "4"), "{told:?}");
    assert_eq!(told[3..5], ["0027", "640:65534"]);
    assert!(told[5].ends_with(":nobody:nobody"), "{told:?}");
}

#[test]
fn priorities_and_limits() {
    let mut stage = Stage::new();
    let lines = "Nice=7\nOOMScoreAdjust=321\nLimitNOFILE=123:456\nLimitCORE=infinity\nLimitNPROC=777\n\
                 TimerSlackNSec=77us\nCPUSchedulingPolicy=batch\nCoredumpFilter=0x1";
    let look = "ps -o ni= -p $$; cat /proc/self/oom_score_adj; ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -Sp; \
                cat /proc/self/timerslack_ns; ps -o cls= -p $$; cat /proc/self/coredump_filter";
    let told = stage.told(lines, look, |_| {});
    let told: Vec<&str> = told.lines().map(str::trim).collect();
    assert_eq!(told, ["7", "321", "123", "456", "unlimited", "777", "77000", "B", "00000001"]);
}

#[test]
fn capabilities_and_privileges() {
    let mut stage = Stage::new();
    let look = "grep -E 'CapBnd|CapAmb|CapEff|NoNewPrivs' /proc/self/status | tr -d '\\t'";
    let lines = "User=nobody\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE CAP_CHOWN\n\
                 AmbientCapabilities=CAP_NET_BIND_SERVICE\nNoNewPrivileges=yes";
    let told = stage.told(lines, look, |_| {});
    let bit = |value: u64| format!("{value:016x}");
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        [
            format!("CapEff:{}", bit(1 << 10)),
            format!("CapBnd:{}", bit(1 << 10 | 1)),
            format!("CapAmb:{}", bit(1 << 10)),
            "NoNewPrivs:1".to_owned()
        ]
    );
    // A unit without CAP_SYS_ADMIN that restricts something by filters has NoNewPrivileges= by that.
    let told = stage.told("User=nobody\nLockPersonality=yes", look, |_| {});
    assert!(told.ends_with("NoNewPrivs:1"), "{told}");
    let told = stage.told("LockPersonality=yes", look, |_| {});
    assert!(told.ends_with("NoNewPrivs:0"), "{told}");
}

#[test]
fn the_environment_in_its_order() {
    let mut stage = Stage::new();
    let file = stage.path("etc/defaults");
    std::fs::write(&file, "B=file\nC='from the file'\n").unwrap();
    stage.environment.insert("A".into(), "manager".into());
    stage.environment.insert("GONE".into(), "manager".into());
    let lines = format!(
        "Environment=B=unit \"D=with blanks\"\nEnvironmentFile={}\nEnvironmentFile=-/nowhere/file\n\
         PassEnvironment=PASSED MISSING\nUnsetEnvironment=GONE D=other",
        file.display()
    );
    let look = "echo $A:$B:$C:$D:$PASSED:$NOT_PASSED:$GONE; echo $INVOCATION_ID; echo $NOTIFY_SOCKET; \
                echo $((WATCHDOG_PID == $$)):$WATCHDOG_USEC:$MAINPID:$((SYSTEMD_EXEC_PID == $$))";
    let told = stage.told(&lines, look, |request| {
        request.invocation = 0x1234;
        request.notify_socket = Some("/run/notify");
        request.watchdog = Some(3_000_000);
        request.environment.push(("MAINPID".into(), "42".into()));
        request.environment.push(("B".into(), "weaker than the unit's".into()));
    });
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(
        told,
        [
            "manager:file:from the file:with blanks:on::",
            "00000000000000000000000000001234",
            "/run/notify",
            "1:3000000:42:1"
        ]
    );
    let link = std::fs::read_link(stage.path("run/systemd/units/invocation:told.service")).unwrap();
    assert_eq!(link.to_str(), Some("00000000000000000000000000001234"));
}

#[test]
fn a_missing_environment_file_stops_the_start() {
    let mut stage = Stage::new();
    let unit = unit("a.service", "[Service]\nExecStart=/bin/true\nEnvironmentFile=/nowhere/file\n");
    let group = stage.group_of(&unit);
    let request =
        ssi_launch::Request::new(&unit.id, &unit.config, scene::main_command(&unit), &group, &stage.environment);
    let error = stage.launcher.launch(&request).unwrap_err();
    assert!(matches!(&error, LaunchError::EnvironmentFile { path, .. } if path == "/nowhere/file"), "{error}");
}

#[test]
fn arguments_get_their_variables_in_the_process() {
    let mut stage = Stage::new();
    let output = stage.path("output");
    let text = |prefix: &str| {
        format!(
            "[Service]\nStandardOutput=truncate:{}\nEnvironment=\"TWO=one two\"\n\
             ExecStart={prefix}/usr/bin/printf %%s; $TWO ${{TWO}} $$x $LISTEN_FDS\n",
            output.display()
        )
    };
    let (ours, _theirs) = scene::pair();
    let mut run = |prefix| {
        let unit = unit("a.service", &text(prefix));
        let ended = stage.run(&unit, |request| {
            request.sockets.push((ours.as_fd(), "web".into()));
        });
        assert_eq!(ended.status, 0);
        std::fs::read_to_string(&output).unwrap()
    };
    assert_eq!(run(""), "one;two;one two;$x;1;");
    assert_eq!(run(":"), "$TWO;${TWO};$$x;$LISTEN_FDS;");
}

#[test]
fn prefixes_of_a_command() {
    let mut stage = Stage::new();
    let output = stage.path("output");
    let mut run = |prefix: &str, program: &str, lines: &str| {
        let text = format!(
            "[Service]\nUser=nobody\nNoNewPrivileges=yes\nStandardOutput=truncate:{}\nExecStart={prefix}{program}\n{lines}",
            output.display()
        );
        let ended = stage.run(&unit("a.service", &text), |_| {});
        (ended, std::fs::read_to_string(&output).unwrap_or_default())
    };
    let look = "/bin/sh -c 'id -u; grep NoNewPrivs /proc/self/status'";
    assert_eq!(run("", look, "").1, "65534\nNoNewPrivs:\t1\n");
    assert_eq!(run("!", look, "").1, "0\nNoNewPrivs:\t1\n");
    assert_eq!(run("+", look, "").1, "0\nNoNewPrivs:\t0\n");
    assert_eq!(run("!!", look, "").1, "65534\nNoNewPrivs:\t1\n");
    assert_eq!(run("@", "/bin/sh zero -c 'echo $0'", "").1, "zero\n");
    let (missing, _) = run("-", "/nowhere/program", "");
    assert!(missing.status == 0 && matches!(missing.outcome, Outcome::Skipped(_)), "{missing:?}");
    // "203/EXEC"
    let (missing, _) = run("", "/nowhere/program", "");
    assert!(missing.status == 203 && matches!(missing.outcome, Outcome::Failed(_)), "{missing:?}");
}

#[test]
fn other_commands_may_be_left_out_of_the_identity_and_the_root() {
    let mut stage = Stage::new();
    let told = stage.told("User=nobody\nRootDirectory=/nowhere", "id -u", |request| {
        request.identity = false;
        request.root = false;
        request.terminal = false;
    });
    assert_eq!(told, "0");
}

#[test]
fn descriptors_are_passed_as_sd_listen_fds_has_it() {
    let mut stage = Stage::new();
    let ((one, _a), (two, _b), (three, _c)) = (scene::pair(), scene::pair(), scene::pair());
    let look = "echo $LISTEN_FDS:$LISTEN_FDNAMES:$((LISTEN_PID == $$)); ls /proc/self/fd | grep -c '[345]'; \
                grep flags /proc/$$/fdinfo/3";
    let told = stage.told("", look, |request| {
        request.sockets = vec![(one.as_fd(), "web".into()), (two.as_fd(), "tls".into())];
        request.stored = vec![(three.as_fd(), "state".into())];
        request.non_blocking = true;
    });
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told[0], "3:web:tls:state:1");
    let flags = u32::from_str_radix(told[2].split_whitespace().last().unwrap(), 8).unwrap();
    assert_ne!(flags & rustix::fs::OFlags::NONBLOCK.bits(), 0, "{told:?}");
    let told = stage.told("", "echo $LISTEN_FDS:$LISTEN_FDNAMES", |request| request.connection = Some(one.as_fd()));
    assert_eq!(told, "1:connection");
}

#[test]
fn streams_from_sockets_names_and_text() {
    let mut stage = Stage::new();
    let (theirs, ours) = scene::pair();
    rustix::io::write(&ours, b"question\n").unwrap();
    let text = "[Service]\nStandardInput=socket\nExecStart=:/bin/sh -c 'read line; echo $line answered $LISTEN_FDS.'\n";
    let ended = stage.run(&unit("a@1.service", text), |request| request.connection = Some(theirs.as_fd()));
    assert_eq!(ended.status, 0);
    let mut buffer = [0; 64];
    let count = rustix::io::read(&ours, &mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"question answered .\n");

    let text = "[Service]\nStandardInput=null\nStandardOutput=fd:web\nExecStart=/bin/echo named\n";
    stage.run(&unit("a.service", text), |request| request.sockets.push((theirs.as_fd(), "web".into())));
    let count = rustix::io::read(&ours, &mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"named\n");

    let told = stage.told("StandardInputText=one\nStandardInputText=two", "cat", |_| {});
    assert_eq!(told, "one\ntwo");

    let unit = unit("a.service", "[Service]\nStandardInput=socket\nExecStart=/bin/cat\n");
    let group = stage.group_of(&unit);
    let request =
        ssi_launch::Request::new(&unit.id, &unit.config, scene::main_command(&unit), &group, &stage.environment);
    assert!(matches!(stage.launcher.launch(&request), Err(LaunchError::NoSocket { .. })));
}

#[test]
fn working_directory_and_what_a_program_is_run_with() {
    let mut stage = Stage::new();
    assert_eq!(stage.told("", "pwd", |_| {}), "/");
    assert_eq!(stage.told("WorkingDirectory=/usr/lib", "pwd", |_| {}), "/usr/lib");
    assert_eq!(stage.told("WorkingDirectory=-/nowhere", "pwd", |_| {}), "/");
    assert_eq!(stage.told("WorkingDirectory=~\nUser=root", "pwd", |_| {}), "/root");
    // "Defaults to true": SIGPIPE is bit 12 of the ignored signals.
    let ignored = "grep SigIgn /proc/$$/status";
    let pipe = |told: String| u64::from_str_radix(told.split_whitespace().last().unwrap(), 16).unwrap() >> 12 & 1;
    assert_eq!(pipe(stage.told("", ignored, |_| {})), 1);
    assert_eq!(pipe(stage.told("IgnoreSIGPIPE=no", ignored, |_| {})), 0);
    if cfg!(target_arch = "x86_64") {
        assert_eq!(stage.told("Personality=x86", "uname -m", |_| {}), "i686");
    }
    assert_eq!(stage.told("ExecSearchPath=/opt:/usr/bin", "echo $PATH", |_| {}), "/opt:/usr/bin");
}

#[test]
fn protections_confine() {
    let mut stage = Stage::new();
    let told = stage.told(
        "ProtectSystem=strict\nProtectHome=yes\nPrivateDevices=yes\nReadWritePaths=/var/tmp",
        "touch /usr/x 2>/dev/null || echo usr is closed; touch /etc/x 2>/dev/null || echo etc is closed; \
         ls -A /root 2>/dev/null | wc -l; test -e /dev/null && ! test -e /dev/kmsg && echo few devices; \
         f=$(mktemp /var/tmp/ssi-XXXXXX) && rm $f && echo but not this",
        |_| {},
    );
    assert_eq!(told, "usr is closed\netc is closed\n0\nfew devices\nbut not this");
}

#[test]
fn what_cannot_be_given_is_told() {
    let mut stage = Stage::new();
    let text = "[Service]\nExecStart=/bin/true\nSystemCallFilter=@system-service\n\
                LoadCredentialEncrypted=secret:/etc/secret\n";
    let loaded = unit("a.service", text);
    let ended = stage.run(&loaded, |_| {});
    assert_eq!(ended.status, 0);
    assert!(ended.warnings.iter().any(|text| text.contains("credential secret")), "{:?}", ended.warnings);
    let is_filter = |report: &Report| matches!(report, Report::Warning(text) if text.starts_with("SystemCallFilter="));
    assert!(ended.reports.iter().any(is_filter), "{:?}", ended.reports);
}

#[test]
fn directories_have_owner_and_mode() {
    let mut stage = Stage::new();
    std::fs::create_dir(stage.path("etc/app")).unwrap();
    let lines = "User=nobody\nStateDirectory=app/data\nStateDirectoryMode=0700\nCacheDirectory=app\n\
                 LogsDirectory=app\nConfigurationDirectory=app\nRuntimeDirectory=app:link";
    let look = "echo $STATE_DIRECTORY:$CACHE_DIRECTORY:$LOGS_DIRECTORY:$CONFIGURATION_DIRECTORY:$RUNTIME_DIRECTORY";
    let told = stage.told(lines, look, |_| {});
    let root = stage.root.path().display().to_string();
    let want = ["var/lib/app/data", "var/cache/app", "var/log/app", "etc/app", "run/app"];
    assert_eq!(told, want.map(|path| format!("{root}/{path}")).join(":"));
    let look = |path: &str| {
        let meta = std::fs::metadata(stage.path(path)).unwrap();
        (meta.mode() & 0o7777, meta.uid())
    };
    assert_eq!(look("var/lib/app/data"), (0o700, 65534));
    assert_eq!(look("var/cache/app"), (0o755, 65534));
    // Configuration that was there before belongs to the administrator.
    assert_eq!(look("etc/app"), (0o755, 0));
    assert!(stage.path("run/link").is_symlink());
}
