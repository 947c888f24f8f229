// SPDX-License-Identifier: GPL-2.0-or-later
//! The states a unit can be in: the coarse one that orders jobs, and the fine one of each unit type.
//!
//! Names and meanings are those of `systemctl(1)` and of the `ActiveState` and `SubState` properties of
//! `org.freedesktop.systemd1(5)`: they are what people and scripts compare.

use serde::{Deserialize, Serialize};

/// What any unit is, whatever its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ActiveState {
    /// Started, bound, plugged in.
    Active,
    /// Active, and reading its configuration anew.
    Reloading,
    /// Not started, or stopped.
    #[default]
    Inactive,
    /// Not started any more, and that was not meant so.
    Failed,
    /// Between inactive and active.
    Activating,
    /// Between active and inactive.
    Deactivating,
    /// Inactive, and a clean-up of its directories is going on.
    Maintenance,
}

impl ActiveState {
    /// The word of `systemctl is-active`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Reloading => "reloading",
            Self::Inactive => "inactive",
            Self::Failed => "failed",
            Self::Activating => "activating",
            Self::Deactivating => "deactivating",
            Self::Maintenance => "maintenance",
        }
    }

    /// Active or reloading: a start has nothing left to do.
    pub fn is_active_or_reloading(self) -> bool {
        matches!(self, Self::Active | Self::Reloading)
    }

    /// Active, reloading or on the way there.
    pub fn is_active_or_activating(self) -> bool {
        matches!(self, Self::Active | Self::Reloading | Self::Activating)
    }

    /// Inactive, failed or on the way there.
    pub fn is_inactive_or_deactivating(self) -> bool {
        matches!(self, Self::Inactive | Self::Failed | Self::Deactivating)
    }

    /// Inactive or failed: a stop has nothing left to do.
    pub fn is_inactive_or_failed(self) -> bool {
        matches!(self, Self::Inactive | Self::Failed | Self::Maintenance)
    }
}

/// Defines the fine states of a unit type: each with its word and the coarse state it is.
macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal $active:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every one of them, the state at rest first.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word of the `SubState` property.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// What this is to those who do not know the type.
            pub fn active(self) -> ActiveState {
                match self { $(Self::$variant => ActiveState::$active,)+ }
            }
        }
    };
}

states! {
    /// A service's states.
    ServiceState {
        /// Nothing runs.
        #[default]
        Dead = "dead" Inactive,
        /// `ExecCondition=` runs.
        Condition = "condition" Activating,
        /// `ExecStartPre=` runs.
        StartPre = "start-pre" Activating,
        /// The main process was started, and is not ready yet.
        Start = "start" Activating,
        /// `ExecStartPost=` runs.
        StartPost = "start-post" Activating,
        /// It is up.
        Running = "running" Active,
        /// Its processes are gone, and it counts as up.
        Exited = "exited" Active,
        /// `ExecReload=` runs.
        Reload = "reload" Reloading,
        /// A reload was asked for by signal; `RELOADING=1` is awaited.
        ReloadSignal = "reload-signal" Reloading,
        /// It said `RELOADING=1`; `READY=1` is awaited.
        ReloadNotify = "reload-notify" Reloading,
        /// `ExecStop=` runs.
        Stop = "stop" Deactivating,
        /// It missed its watchdog, and gets the signal for that.
        StopWatchdog = "stop-watchdog" Deactivating,
        /// It got the signal that asks it to stop.
        StopSigterm = "stop-sigterm" Deactivating,
        /// It got the signal that does not ask.
        StopSigkill = "stop-sigkill" Deactivating,
        /// `ExecStopPost=` runs.
        StopPost = "stop-post" Deactivating,
        /// As `StopWatchdog`, after the stop commands.
        FinalWatchdog = "final-watchdog" Deactivating,
        /// What is left after the stop commands got the signal that asks.
        FinalSigterm = "final-sigterm" Deactivating,
        /// What is left after the stop commands got the signal that does not ask.
        FinalSigkill = "final-sigkill" Deactivating,
        /// It ended otherwise than it should have.
        Failed = "failed" Failed,
        /// It ended, and is started again after `RestartSec=`.
        AutoRestart = "auto-restart" Activating,
    }
}

states! {
    /// A socket's states.
    SocketState {
        /// Nothing is open.
        #[default]
        Dead = "dead" Inactive,
        /// `ExecStartPre=` runs.
        StartPre = "start-pre" Activating,
        /// The sockets are being given their owner.
        StartChown = "start-chown" Activating,
        /// `ExecStartPost=` runs.
        StartPost = "start-post" Activating,
        /// Who connects starts the service.
        Listening = "listening" Active,
        /// The service runs, and looks after the sockets itself.
        Running = "running" Active,
        /// `ExecStopPre=` runs.
        StopPre = "stop-pre" Deactivating,
        /// Its command got the signal that asks.
        StopPreSigterm = "stop-pre-sigterm" Deactivating,
        /// Its command got the signal that does not ask.
        StopPreSigkill = "stop-pre-sigkill" Deactivating,
        /// `ExecStopPost=` runs.
        StopPost = "stop-post" Deactivating,
        /// What is left got the signal that asks.
        FinalSigterm = "final-sigterm" Deactivating,
        /// What is left got the signal that does not ask.
        FinalSigkill = "final-sigkill" Deactivating,
        /// It could not be opened, or its service failed too often.
        Failed = "failed" Failed,
    }
}

states! {
    /// A mount's states.
    MountState {
        /// Not mounted.
        #[default]
        Dead = "dead" Inactive,
        /// `mount(8)` runs.
        Mounting = "mounting" Activating,
        /// `mount(8)` runs still, and the file system is in the kernel's table.
        MountingDone = "mounting-done" Activating,
        /// Mounted.
        Mounted = "mounted" Active,
        /// It is mounted anew with other options.
        Remounting = "remounting" Reloading,
        /// `umount(8)` runs.
        Unmounting = "unmounting" Deactivating,
        /// The remounting command got the signal that asks.
        RemountingSigterm = "remounting-sigterm" Reloading,
        /// The remounting command got the signal that does not ask.
        RemountingSigkill = "remounting-sigkill" Reloading,
        /// The unmounting command got the signal that asks.
        UnmountingSigterm = "unmounting-sigterm" Deactivating,
        /// The unmounting command got the signal that does not ask.
        UnmountingSigkill = "unmounting-sigkill" Deactivating,
        /// It could not be mounted, or unmounted.
        Failed = "failed" Failed,
    }
}

states! {
    /// An automount's states.
    AutomountState {
        /// Nothing is there.
        #[default]
        Dead = "dead" Inactive,
        /// Who looks there mounts it.
        Waiting = "waiting" Active,
        /// It is mounted.
        Running = "running" Active,
        /// It could not be set up.
        Failed = "failed" Failed,
    }
}

states! {
    /// A swap area's states.
    SwapState {
        /// Not in use.
        #[default]
        Dead = "dead" Inactive,
        /// `swapon(8)` runs.
        Activating = "activating" Activating,
        /// `swapon(8)` runs still, and the kernel uses the area.
        ActivatingDone = "activating-done" Active,
        /// In use.
        Active = "active" Active,
        /// `swapoff(8)` runs.
        Deactivating = "deactivating" Deactivating,
        /// The command got the signal that asks.
        DeactivatingSigterm = "deactivating-sigterm" Deactivating,
        /// The command got the signal that does not ask.
        DeactivatingSigkill = "deactivating-sigkill" Deactivating,
        /// It could not be used, or given up.
        Failed = "failed" Failed,
    }
}

states! {
    /// A target's states.
    TargetState {
        /// Not reached.
        #[default]
        Dead = "dead" Inactive,
        /// Reached.
        Active = "active" Active,
    }
}

states! {
    /// A timer's states.
    TimerState {
        /// Not running.
        #[default]
        Dead = "dead" Inactive,
        /// It knows when it elapses next.
        Waiting = "waiting" Active,
        /// It elapsed, and its unit runs.
        Running = "running" Active,
        /// It elapsed, and does not again.
        Elapsed = "elapsed" Active,
        /// Its unit could not be started.
        Failed = "failed" Failed,
    }
}

states! {
    /// A path unit's states.
    PathState {
        /// Not watching.
        #[default]
        Dead = "dead" Inactive,
        /// Watching.
        Waiting = "waiting" Active,
        /// What was watched for came, and its unit runs.
        Running = "running" Active,
        /// It could not watch, or its unit failed too often.
        Failed = "failed" Failed,
    }
}

states! {
    /// A slice's states.
    SliceState {
        /// Its control group is not there.
        #[default]
        Dead = "dead" Inactive,
        /// Its control group is there.
        Active = "active" Active,
    }
}

states! {
    /// A scope's states.
    ScopeState {
        /// No process is in it.
        #[default]
        Dead = "dead" Inactive,
        /// Its processes are being moved into it.
        StartChown = "start-chown" Activating,
        /// Its processes run.
        Running = "running" Active,
        /// It was given up by who made it; its processes run.
        Abandoned = "abandoned" Active,
        /// Its processes got the signal that asks.
        StopSigterm = "stop-sigterm" Deactivating,
        /// Its processes got the signal that does not ask.
        StopSigkill = "stop-sigkill" Deactivating,
        /// They would not go.
        Failed = "failed" Failed,
    }
}

states! {
    /// A device's states.
    DeviceState {
        /// Not there.
        #[default]
        Dead = "dead" Inactive,
        /// Something the kernel told of needs it, and udev has not told of it yet.
        Tentative = "tentative" Activating,
        /// udev has told of it.
        Plugged = "plugged" Active,
    }
}
