//! Deliberate mistakes: each switches one rule of the protocol off, and some property must notice.

/// A mistake in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A master takes a job although its owner is registered.
    TakeFromLiveOwner,
    /// An owner writes the record without comparing it to what it knows.
    EpochNotChecked,
    /// A worker takes assignments from an owner older than one it has heard.
    OldOwnerObeyed,
    /// A new owner reads storage without waiting for the workers' answers.
    LoadedBeforeAnswers,
    /// Attempts of different owners are numbered alike.
    AttemptIdReused,
    /// An assignment is sent before the history tells of it.
    SentBeforeRecorded,
    /// An assignment is sent without a look, after the history tells of it, whether the job is still its owner's.
    SentUnconfirmed,
    /// A write whose outcome is unknown counts as done.
    UnknownTakenForSuccess,
    /// A marker replaces the one that is there.
    MarkerOverwritten,
    /// The marker is created before the data is durable.
    MarkerBeforeData,
    /// A loser deletes the data that the winner's marker names.
    LoserDeletesWinner,
    /// A manifest names what a listing of data shows.
    SealByListingData,
    /// The record shows the reduce phase before the manifest is durable.
    PhaseBeforeManifest,
    /// The list of live masters is read before the record, which may name a master that started in between.
    MembersReadFirst,
    /// A master that gave up on an unknown outcome of its take does not notice that it owns the job.
    TakenUnawares,
    /// A launch that is given up leaves its slot offered, and the worker waits for an answer.
    OfferForgotten,
    /// What a former owner writes late into the history is read as if its successors had known it.
    LateHistoryTakenForRead,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 17] = [
        Bug::TakeFromLiveOwner,
        Bug::EpochNotChecked,
        Bug::OldOwnerObeyed,
        Bug::LoadedBeforeAnswers,
        Bug::AttemptIdReused,
        Bug::SentBeforeRecorded,
        Bug::SentUnconfirmed,
        Bug::UnknownTakenForSuccess,
        Bug::MarkerOverwritten,
        Bug::MarkerBeforeData,
        Bug::LoserDeletesWinner,
        Bug::SealByListingData,
        Bug::PhaseBeforeManifest,
        Bug::MembersReadFirst,
        Bug::TakenUnawares,
        Bug::OfferForgotten,
        Bug::LateHistoryTakenForRead,
    ];
}
