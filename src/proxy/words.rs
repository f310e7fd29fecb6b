//! The words of the refusal page around the sentences of `policy/`, in its three languages.

use crate::policy::Language;

/// The words of one language.
pub(super) struct Words {
    pub language: Language,
    /// The language's own name.
    pub name: &'static str,
    pub title: &'static str,
    pub remedy: &'static str,
    pub declare: &'static str,
    pub destination: &'static str,
    pub reason: &'static str,
    pub record: &'static str,
    pub controller: &'static str,
    pub officer: &'static str,
    pub rights: &'static str,
    pub receipt: &'static str,
}

pub(super) const WORDS: [Words; 3] = [
    Words {
        language: Language::Ar,
        name: "العربية",
        title: "لم يُسمح بهذا الإرسال",
        remedy: "ما الذي يمكنك فعله",
        declare: "كيف يُصرَّح بنقل المعطيات",
        destination: "الوجهة",
        reason: "السبب",
        record: "رقم السجل",
        controller: "المسؤول عن المعالجة",
        officer: "مسؤول حماية المعطيات",
        rights: "لممارسة حقوقك",
        receipt: "وصل هذه المعالجة",
    },
    Words {
        language: Language::Fr,
        name: "Français",
        title: "Cet envoi n’a pas été autorisé",
        remedy: "Ce que vous pouvez faire",
        declare: "Comment faire déclarer un transfert",
        destination: "Destination",
        reason: "Motif",
        record: "Numéro d’enregistrement",
        controller: "Responsable du traitement",
        officer: "Délégué à la protection des données",
        rights: "Pour exercer vos droits",
        receipt: "Récépissé du présent traitement",
    },
    Words {
        language: Language::En,
        name: "English",
        title: "This transfer was not allowed",
        remedy: "What you can do",
        declare: "How a transfer comes to be declared",
        destination: "Destination",
        reason: "Reason",
        record: "Record",
        controller: "Controller",
        officer: "Data protection officer",
        rights: "To exercise your rights",
        receipt: "Receipt of this processing",
    },
];

/// One step on the way to a declared transfer.
pub(super) struct Step {
    ar: &'static str,
    fr: &'static str,
    en: &'static str,
}

impl Step {
    pub(super) fn in_language(&self, language: Language) -> &'static str {
        match language {
            Language::Ar => self.ar,
            Language::Fr => self.fr,
            Language::En => self.en,
        }
    }
}

pub(super) const STEPS: [Step; 3] = [
    Step {
        ar: "أخبر مسؤول حماية المعطيات: أي معطيات، إلى من وفي أي بلد، ولأي غرض، وكم مرة؛ مع رقم السجل أدناه.",
        fr: "Indiquez au délégué à la protection des données : quelles données, à qui et dans quel pays, dans quel but, à quelle fréquence, et le numéro d’enregistrement ci-dessous.",
        en: "Tell the data protection officer which data, to whom and in which country, for what purpose and how often, with the record number below.",
    },
    Step {
        ar: "يودع المسؤول ملف النقل لدى السلطة وينتظر قرارها عندما يشترطه القانون.",
        fr: "Le délégué accomplit la formalité auprès de l’autorité et attend sa décision lorsque la loi l’exige.",
        en: "The officer files the transfer with the authority and waits for its decision where the law requires one.",
    },
    Step {
        ar: "يقيّد المسؤول النقل بمرجعه في السجل؛ ولا يُرسل شيء قبل ذلك.",
        fr: "Le délégué inscrit le transfert, avec sa référence, au registre ; rien ne part avant cela.",
        en: "The officer enters the transfer with its reference in the register; nothing leaves before that.",
    },
];
