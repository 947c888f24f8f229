// SPDX-License-Identifier: GPL-2.0-or-later
//! The steps between a new process and its program, and the exit status that tells which one failed.
//!
//! The numbers are the ones of systemd.exec(5), "Process exit codes": administrators, `SuccessExitStatus=` and
//! `systemctl status` know them by these names.

use serde::{Deserialize, Serialize};

macro_rules! steps {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $name:literal $what:literal;)+) => {
        /// A step of a start that can fail; its number is the exit status the process then ends with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Step {
            $($(#[$doc])* $variant,)+
        }

        impl Step {
            /// Every step, by rising exit status.
            pub const ALL: &'static [Step] = &[$(Step::$variant,)+];

            /// The exit status of a process that failed here.
            pub fn exit_status(self) -> u8 {
                match self { $(Step::$variant => $status,)+ }
            }

            /// The word for it, as in `status=203/EXEC`.
            pub fn name(self) -> &'static str {
                match self { $(Step::$variant => $name,)+ }
            }

            /// What was being tried, to follow "failed to".
            pub fn attempt(self) -> &'static str {
                match self { $(Step::$variant => $what,)+ }
            }

            /// The step that ends with `status`, if one does.
            pub fn from_exit_status(status: u8) -> Option<Step> {
                match status { $($status => Some(Step::$variant),)+ _ => None }
            }
        }
    };
}

steps! {
    /// `WorkingDirectory=`, or the user's home.
    Chdir = 200 "CHDIR" "change to the working directory";
    /// `Nice=`.
    Nice = 201 "NICE" "set the nice level";
    /// Closing descriptors and putting those that are passed on where they belong.
    Fds = 202 "FDS" "arrange the file descriptors";
    /// The program: not found, not executable, or refused by the kernel.
    Exec = 203 "EXEC" "execute the program";
    /// Memory ran out, or the plan could not be read.
    Memory = 204 "MEMORY" "read the plan";
    /// `Limit…=`, `CoredumpFilter=`.
    Limits = 205 "LIMITS" "set the resource limits";
    /// `OOMScoreAdjust=`.
    OomAdjust = 206 "OOM_ADJUST" "adjust the out-of-memory score";
    /// Signal mask and dispositions.
    SignalMask = 207 "SIGNAL_MASK" "reset the signal mask";
    /// `StandardInput=`.
    Stdin = 208 "STDIN" "set up standard input";
    /// `StandardOutput=`.
    Stdout = 209 "STDOUT" "set up standard output";
    /// `RootDirectory=`.
    Chroot = 210 "CHROOT" "change to the root directory";
    /// `IOSchedulingClass=`, `IOSchedulingPriority=`.
    Ioprio = 211 "IOPRIO" "set the I/O priority";
    /// `TimerSlackNSec=`.
    TimerSlack = 212 "TIMERSLACK" "set the timer slack";
    /// `SecureBits=`.
    SecureBits = 213 "SECUREBITS" "set the secure bits";
    /// `CPUSchedulingPolicy=`, `CPUSchedulingPriority=`.
    SetScheduler = 214 "SETSCHEDULER" "set the CPU scheduling policy";
    /// `CPUAffinity=`.
    CpuAffinity = 215 "CPUAFFINITY" "set the CPU affinity";
    /// `Group=`, `SupplementaryGroups=`.
    Group = 216 "GROUP" "take the group credentials";
    /// `User=`, and user namespaces.
    User = 217 "USER" "take the user credentials";
    /// `CapabilityBoundingSet=`, `AmbientCapabilities=`.
    Capabilities = 218 "CAPABILITIES" "set the capabilities";
    /// Entering the control group, or handing a delegated one over.
    Cgroup = 219 "CGROUP" "enter the control group";
    /// A session of its own.
    Setsid = 220 "SETSID" "create a session";
    /// The question at the console whether to start.
    Confirm = 221 "CONFIRM" "ask for confirmation";
    /// `StandardError=`.
    Stderr = 222 "STDERR" "set up standard error";
    /// `PAMName=`.
    Pam = 224 "PAM" "open the PAM session";
    /// `PrivateNetwork=`, `NetworkNamespacePath=`.
    Network = 225 "NETWORK" "set up the network namespace";
    /// Mount, UTS and IPC namespaces.
    Namespace = 226 "NAMESPACE" "set up the namespace";
    /// `NoNewPrivileges=`.
    NoNewPrivileges = 227 "NO_NEW_PRIVILEGES" "forbid new privileges";
    /// System call filters.
    Seccomp = 228 "SECCOMP" "install the system call filter";
    /// `SELinuxContext=`.
    SelinuxContext = 229 "SELINUX_CONTEXT" "change the SELinux context";
    /// `Personality=`.
    Personality = 230 "PERSONALITY" "set the personality";
    /// `AppArmorProfile=`.
    Apparmor = 231 "APPARMOR" "prepare the AppArmor profile";
    /// `RestrictAddressFamilies=`.
    AddressFamilies = 232 "ADDRESS_FAMILIES" "restrict the address families";
    /// `RuntimeDirectory=`.
    RuntimeDirectory = 233 "RUNTIME_DIRECTORY" "set up the runtime directory";
    /// Changing the owner of something the unit uses.
    Chown = 235 "CHOWN" "change an owner";
    /// `SmackProcessLabel=`.
    SmackProcessLabel = 236 "SMACK_PROCESS_LABEL" "set the Smack label";
    /// `KeyringMode=`.
    Keyring = 237 "KEYRING" "set up the kernel keyring";
    /// `StateDirectory=`.
    StateDirectory = 238 "STATE_DIRECTORY" "set up the state directory";
    /// `CacheDirectory=`.
    CacheDirectory = 239 "CACHE_DIRECTORY" "set up the cache directory";
    /// `LogsDirectory=`.
    LogsDirectory = 240 "LOGS_DIRECTORY" "set up the logs directory";
    /// `ConfigurationDirectory=`.
    ConfigurationDirectory = 241 "CONFIGURATION_DIRECTORY" "set up the configuration directory";
    /// `NUMAPolicy=`, `NUMAMask=`.
    NumaPolicy = 242 "NUMA_POLICY" "set the NUMA memory policy";
    /// `LoadCredential=`, `SetCredential=`.
    Credentials = 243 "CREDENTIALS" "set up the credentials";
    /// BPF programs for the control group.
    Bpf = 244 "BPF" "apply the BPF restrictions";
    /// A defect of this program.
    Exception = 255 "EXCEPTION" "go on";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_step_are_inverse_and_rising() {
        for pair in Step::ALL.windows(2) {
            assert!(pair[0].exit_status() < pair[1].exit_status());
        }
        for status in 0..=255u8 {
            if let Some(step) = Step::from_exit_status(status) {
                assert_eq!(step.exit_status(), status);
            }
        }
        assert_eq!(
            Step::ALL.iter().filter(|s| Step::from_exit_status(s.exit_status()) == Some(**s)).count(),
            Step::ALL.len()
        );
    }
}
