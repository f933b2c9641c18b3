//! Kinds of configuration errors.

/// Kind of a [`ConfigError`](crate::ConfigError). Its name is stable: tools report it, and people silence it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// Value that is not of the form that its key needs, or that no request has.
    InvalidValue,
    /// Value of another type: a number where a string belongs.
    WrongType,
    /// Key that does not exist.
    UnknownField,
    /// Word that is not among those of its key.
    UnknownValue,
    /// Kind that does not exist in its API group.
    UnknownKind,
    /// Kind in an API group that is not its own.
    WrongGroup,
    /// Required key that is absent.
    MissingField,
    /// List, object or string without content.
    EmptyValue,
    /// Key that is given twice in one object.
    RepeatedKey,
    /// Two resources of one kind, namespace and name.
    DuplicateResource,
    /// Key or value that means something elsewhere and that the filter cannot carry out.
    Unsupported,
    /// More than a filter takes of something.
    LimitExceeded,
    /// Policy or configuration that has no effect.
    NoEffect,
    /// Keys that exclude each other, or resources of which only one can count.
    Conflict,
    /// Workload that does not say what a policy is selected by.
    UndecidedTarget,
    /// `defaultAction` is absent and no ALLOW policy applies.
    MissingDefaultAction,
    /// Address that clients can choose, without `remoteAddress: trusted`.
    UntrustedAddress,
    /// CUSTOM policy whose authorizer is not configured.
    MissingAuthorizer,
    /// Text that is neither JSON nor a protobuf Struct.
    Unreadable,
}

impl ErrorCode {
    /// All codes, in the order of this page.
    pub const ALL: [Self; 19] = [
        Self::InvalidValue,
        Self::WrongType,
        Self::UnknownField,
        Self::UnknownValue,
        Self::UnknownKind,
        Self::WrongGroup,
        Self::MissingField,
        Self::EmptyValue,
        Self::RepeatedKey,
        Self::DuplicateResource,
        Self::Unsupported,
        Self::LimitExceeded,
        Self::NoEffect,
        Self::Conflict,
        Self::UndecidedTarget,
        Self::MissingDefaultAction,
        Self::UntrustedAddress,
        Self::MissingAuthorizer,
        Self::Unreadable,
    ];

    /// Returns the name, as in `unknown-field`.
    pub fn as_str(self) -> &'static str {
        self.name_and_title().0
    }

    /// Returns one line about this kind of error.
    pub fn title(self) -> &'static str {
        self.name_and_title().1
    }

    fn name_and_title(self) -> (&'static str, &'static str) {
        match self {
            Self::InvalidValue => {
                ("invalid-value", "A value is not of the form that its key needs, or no request has it")
            }
            Self::WrongType => ("wrong-type", "A value has another type than its key needs"),
            Self::UnknownField => ("unknown-field", "A key does not exist"),
            Self::UnknownValue => ("unknown-value", "A word is not among those of its key"),
            Self::UnknownKind => ("unknown-kind", "A kind does not exist in its API group"),
            Self::WrongGroup => ("wrong-group", "A kind is in an API group that is not its own"),
            Self::MissingField => ("missing-field", "A required key is absent"),
            Self::EmptyValue => ("empty-value", "A list, an object or a string has no content"),
            Self::RepeatedKey => ("repeated-key", "A key is given twice in one object"),
            Self::DuplicateResource => ("duplicate-resource", "Two resources have one kind, namespace and name"),
            Self::Unsupported => ("unsupported", "The filter cannot carry out what this key or value asks for"),
            Self::LimitExceeded => ("limit-exceeded", "There is more of something than a filter takes"),
            Self::NoEffect => ("no-effect", "A policy or a configuration has no effect"),
            Self::Conflict => ("conflict", "Keys exclude each other, or only one of several resources can count"),
            Self::UndecidedTarget => ("undecided-target", "The workload does not say what a policy is selected by"),
            Self::MissingDefaultAction => {
                ("missing-default-action", "No ALLOW policy applies and defaultAction is absent")
            }
            Self::UntrustedAddress => ("untrusted-address", "A policy compares an address that clients can choose"),
            Self::MissingAuthorizer => ("missing-authorizer", "The authorizer of a CUSTOM policy is not configured"),
            Self::Unreadable => ("unreadable", "A configuration is neither JSON nor a protobuf Struct"),
        }
    }
}
