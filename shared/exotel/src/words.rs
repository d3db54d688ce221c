//! The words of Exotel's answers and callbacks: statuses, events, directions. Unknown ones are kept as they came.

/// Compares two of Exotel's words: without case, and `_` or a space for `-`.
fn same_word(known: &str, text: &str) -> bool {
    let letters = |word: &str| {
        let letter = |c: char| match c {
            '_' | ' ' => '-',
            c => c.to_ascii_lowercase(),
        };
        word.chars().map(letter).collect::<Vec<_>>()
    };
    letters(known) == letters(text.trim())
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $word:literal $(| $alias:literal)* ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $( $(#[$vmeta])* $variant, )*
            /// A word this crate does not know, exactly as it came.
            Other(String),
        }

        impl $name {
            /// Reads Exotel's word; case and `_` for `-` do not matter. Never fails: see [`Self::Other`].
            pub fn from_wire(text: &str) -> Self {
                $( if [$word $(, $alias)*].iter().any(|known| same_word(known, text)) {
                    return Self::$variant;
                } )*
                Self::Other(text.to_owned())
            }

            /// The word as Exotel's documentation spells it; an unknown one as it came.
            pub fn as_str(&self) -> &str {
                match self {
                    $( Self::$variant => $word, )*
                    Self::Other(text) => text,
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::from_wire(&text)
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> String {
                word.as_str().to_owned()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// State of a call, or of one of its legs.
    ///
    /// `Completed` says that leg 1 answered and ended normally, not that the two parties talked.
    CallStatus {
        /// Waiting inside Exotel.
        Queued = "queued",
        /// A phone rings.
        Ringing = "ringing",
        /// Under way. The usual status of a call just placed, before anybody has answered.
        InProgress = "in-progress" | "inprogress",
        /// Ended after leg 1 had answered.
        Completed = "completed",
        /// Could not be placed.
        Failed = "failed",
        /// The line was busy.
        Busy = "busy",
        /// Nobody answered.
        NoAnswer = "no-answer" | "noanswer",
        /// Ended before it was answered.
        Canceled = "canceled" | "cancelled",
    }
}

impl CallStatus {
    /// Whether Exotel sends nothing after this status. An unknown word does not count.
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Completed | Self::Failed | Self::Busy | Self::NoAnswer | Self::Canceled
        )
    }
}

words! {
    /// State of an SMS. `Sent` is v1's success; that a handset got it is only in the detailed status code (20005).
    SmsStatus {
        /// Waiting inside Exotel.
        Queued = "queued",
        /// On the way to the operator.
        Sending = "sending",
        /// The operator has it.
        Submitted = "submitted",
        /// Delivered to the handset or, where no receipt exists, to the operator.
        Sent = "sent",
        /// Not delivered; the detailed status says why.
        Failed = "failed",
        /// The number is on the do-not-disturb register (`failed-dnd` in details, `failed_dnd` in callbacks).
        FailedDnd = "failed-dnd",
        /// Not a v1 status by Exotel's reference, but named in guides.
        Delivered = "delivered",
        /// Not a v1 status by Exotel's reference, but named in guides.
        Undelivered = "undelivered",
    }
}

words! {
    /// What a call's status callback reports.
    CallEvent {
        /// Leg 1 rings (calls to a stream only).
        Ringing = "ringing",
        /// A leg answered; sent once for each.
        Answered = "answered",
        /// The call ended.
        Terminal = "terminal",
    }
}

words! {
    /// Who started a call.
    Direction {
        /// A caller dialled the ExoPhone.
        Inbound = "inbound" | "incoming",
        /// Placed from Exotel's dashboard or a Connect applet.
        OutboundDial = "outbound-dial",
        /// Placed through the API or a campaign.
        OutboundApi = "outbound-api",
    }
}

words! {
    /// Who picked up, where answering-machine detection is switched on.
    AnsweredBy {
        /// A person.
        Human = "human",
        /// A machine.
        Machine = "machine",
        /// Exotel could not tell.
        NotSure = "notsure" | "not-sure",
        /// Detection was off, or nobody answered.
        NotAvailable = "na",
    }
}

words! {
    /// How far a call got in its flow when the Passthru applet was reached.
    CallType {
        /// The flow has spoken with the caller, nobody was dialled.
        CallAttempt = "call-attempt",
        /// The caller talked to somebody.
        Completed = "completed",
        /// The caller hung up while somebody was being dialled.
        ClientHangup = "client-hangup",
        /// Somebody was dialled and nobody picked up.
        Incomplete = "incomplete",
        /// The caller was sent to the voicemail.
        Voicemail = "voicemail",
    }
}

words! {
    /// Whether calls get through to or from an ExoPhone.
    ConnectivityStatus {
        /// They do.
        Active = "active",
        /// They do not.
        MajorOutage = "major_outage",
        /// Some operators' calls do not. Named by one reader of Exotel's portal.
        PartialNetworkOutage = "partial_network_outage",
    }
}

words! {
    /// What a HeartBeat says of all ExoPhones of the account together.
    HeartbeatStatus {
        /// None is affected.
        Ok = "OK",
        /// At least one is affected, in one direction or both.
        Warning = "WARNING",
        /// All are affected.
        Critical = "CRITICAL",
        /// The details would be larger than 10 MB and are left out: ask for each ExoPhone.
        PayloadTooLarge = "PAYLOAD_TOO_LARGE",
    }
}

words! {
    /// Whether a CCM call is over.
    CcmState {
        /// Under way, or over but still being processed.
        Active = "active",
        /// Over, and its record final.
        Terminal = "terminal",
    }
}

words! {
    /// What became of a CCM call: the words of v2 (agent and customer) and of v3 (from and to leg).
    /// [`CcmStatus::in_v1`] says the same in v1's words.
    CcmStatus {
        /// Both parties were connected.
        Completed = "completed",
        /// v2: the agent did not pick up.
        AgentUnanswered = "agent_unanswered",
        /// v2: the agent picked up, the customer did not.
        CustomerUnanswered = "customer_unanswered",
        /// v2: the agent gave the call up.
        AgentCanceled = "agent_canceled" | "agent_cancelled",
        /// v2: the customer was not dialled.
        CustomerNoDial = "customer_no_dial",
        /// v2: the agent was not dialled.
        AgentNoDial = "agent_no_dial",
        /// v3: leg 1 did not pick up.
        FromLegUnanswered = "from_leg_unanswered",
        /// v3: leg 1 picked up, leg 2 did not.
        ToLegUnanswered = "to_leg_unanswered",
        /// v3: leg 1 gave the call up.
        FromLegCancelled = "from_leg_cancelled" | "from_leg_canceled",
        /// v3: leg 2 was not dialled.
        ToLegNoDial = "to_leg_no_dial",
        /// v3: leg 1 was not dialled.
        FromLegNoDial = "from_leg_no_dial",
    }
}

words! {
    /// Why a stream ended, as its last message says.
    StopReason {
        /// The applet ended, or the call's flow went on.
        Stopped = "stopped",
        /// Somebody hung up.
        CallEnded = "callended" | "call-ended",
    }
}

words! {
    /// What became of a stream, as the Passthru applet behind it tells.
    StreamStatus {
        /// It took place.
        Completed = "completed",
        /// The bot could not be reached, or the socket broke.
        Failed = "failed",
    }
}

words! {
    /// Who ended a stream, as the Passthru applet behind it tells.
    DisconnectedBy {
        /// The bot closed the socket.
        Bot = "bot",
        /// The caller hung up.
        User = "user" | "caller",
        /// Exotel ended it. Named by one guide.
        System = "system",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_seen_in_the_field_are_one_status() {
        assert_eq!(CallStatus::from_wire("No_Answer"), CallStatus::NoAnswer);
        assert_eq!(CallStatus::from_wire("cancelled").as_str(), "canceled");
        assert_eq!(
            SmsStatus::from_wire("failed_dnd"),
            SmsStatus::from_wire("failed-dnd")
        );
        assert_eq!(AnsweredBy::from_wire("HUMAN"), AnsweredBy::Human);
    }

    #[test]
    fn a_word_with_underscores_is_spelt_as_exotel_spells_it() {
        for text in ["major_outage", "Major-Outage", " MAJOR OUTAGE "] {
            let status = ConnectivityStatus::from_wire(text);
            assert_eq!(
                (&status, status.as_str()),
                (&ConnectivityStatus::MajorOutage, "major_outage")
            );
        }
        assert_eq!(HeartbeatStatus::from_wire("ok").as_str(), "OK");
        assert_eq!(
            ConnectivityStatus::from_wire("OK"),
            ConnectivityStatus::Other("OK".to_owned())
        );
    }

    #[test]
    fn an_unknown_word_is_kept_as_it_came() {
        assert_eq!(
            CallStatus::from_wire("Agent_Unanswered").as_str(),
            "Agent_Unanswered"
        );
        assert!(!CallStatus::from_wire("done").is_terminal());
    }
}
