//! The sentence of each reason in Arabic, French and English, as the refusal page and `problem+json` show it.
//!
//! Each says what was refused and why, to somebody who knows neither HTTP nor the register; none names what was found.

use super::reason::{Language, Reason};

/// One sentence in the three languages.
pub(super) struct Sentences {
    pub ar: &'static str,
    pub fr: &'static str,
    pub en: &'static str,
}

impl Sentences {
    /// The one in a language.
    pub(super) fn in_language(&self, language: Language) -> &'static str {
        match language {
            Language::Ar => self.ar,
            Language::Fr => self.fr,
            Language::En => self.en,
        }
    }
}

/// The sentences of a reason.
pub(super) fn of(reason: Reason) -> Sentences {
    let (ar, fr, en) = texts(reason);
    Sentences { ar, fr, en }
}

fn texts(reason: Reason) -> (&'static str, &'static str, &'static str) {
    match reason {
        Reason::MalformedRequest => (
            "رُفض الطلب لأنه لا يحترم قواعد بروتوكول HTTP.",
            "La requête a été refusée parce qu'elle ne respecte pas les règles du protocole HTTP.",
            "The request was refused because it does not follow the rules of HTTP.",
        ),
        Reason::AmbiguousDestination => (
            "رُفض الطلب لأنه يذكر أكثر من وجهة واحدة.",
            "La requête a été refusée parce qu'elle désigne plusieurs destinations à la fois.",
            "The request was refused because it names more than one destination.",
        ),
        Reason::Loop => (
            "رُفض الطلب لأنه سبق أن مرّ عبر هذا الوسيط.",
            "La requête a été refusée parce qu'elle est déjà passée par ce mandataire.",
            "The request was refused because it has already passed through this proxy.",
        ),
        Reason::CredentialsRequired => (
            "رُفض الطلب لأن هذا الوسيط يشترط التعريف بهوية المستخدم.",
            "La requête a été refusée parce que ce mandataire demande à l'utilisateur de s'identifier.",
            "The request was refused because this proxy asks users to identify themselves.",
        ),
        Reason::ClientTimeout => (
            "تُرك الطلب لأن الجهاز المرسل تأخر في إتمامه.",
            "La requête a été abandonnée parce que l'émetteur a trop tardé à la compléter.",
            "The request was given up because the sender took too long to complete it.",
        ),
        Reason::ClientClosed => (
            "لم يُرسل شيء لأن الجهاز المرسل قطع الاتصال قبل اتخاذ القرار.",
            "Rien n'a été transmis parce que l'émetteur a rompu la connexion avant la décision.",
            "Nothing was sent because the sender left before the decision.",
        ),
        Reason::SourceUnknown => (
            "رُفض النقل لأن النظام المرسل غير مسجّل ضمن المصادر المصرّح بها.",
            "Le transfert a été refusé parce que le système émetteur ne figure pas parmi les sources déclarées.",
            "The transfer was refused because the sending system is not among the declared sources.",
        ),
        Reason::SuspendedByOrder => (
            "رُفض النقل لأن أمرا صادرا عن سلطة حماية المعطيات يوقفه.",
            "Le transfert a été refusé parce qu'un ordre de l'autorité de protection des données le suspend.",
            "The transfer was refused because an order of the data protection authority suspends it.",
        ),
        Reason::AddressRefused => (
            "رُفض النقل لأن عنوان الوجهة ليس من العناوين المسموح بالاتصال بها.",
            "Le transfert a été refusé parce que l'adresse de destination n'est pas de celles qui peuvent être contactées.",
            "The transfer was refused because the destination's address is not one that may be contacted.",
        ),
        Reason::NumericHost => (
            "رُفض النقل لأن اسم الوجهة عنوان رقمي مكتوب بصيغة ملتبسة.",
            "Le transfert a été refusé parce que le nom de la destination est une adresse numérique déguisée.",
            "The transfer was refused because the destination's name is a numeric address in disguise.",
        ),
        Reason::PortNotDeclared => (
            "رُفض النقل لأن هذا المنفذ غير مصرّح به لدى هذه الوجهة.",
            "Le transfert a été refusé parce que ce port n'est pas déclaré pour cette destination.",
            "The transfer was refused because this port is not declared for this destination.",
        ),
        Reason::CleartextNotDeclared => (
            "رُفض النقل لأن هذه الوجهة مصرّح بها للاتصال المشفّر وحده.",
            "Le transfert a été refusé parce que cette destination n'est déclarée que pour des échanges chiffrés.",
            "The transfer was refused because this destination is declared for encrypted exchanges only.",
        ),
        Reason::NoDeclaration => (
            "رُفض النقل لأن الجهة المرسل إليها غير مدرجة ضمن عمليات نقل المعطيات الشخصية المصرّح بها.",
            "Le transfert a été refusé parce que le destinataire ne figure pas parmi les transferts de données personnelles déclarés.",
            "The transfer was refused because the recipient is not among the declared transfers of personal data.",
        ),
        Reason::SourceNotDeclared => (
            "رُفض النقل لأن التصريح المتعلق بهذه الوجهة لا يشمل النظام المرسل.",
            "Le transfert a été refusé parce que la déclaration de cette destination ne couvre pas le système émetteur.",
            "The transfer was refused because what is declared for this destination does not cover the sending system.",
        ),
        Reason::FilingMissing => (
            "رُفض النقل لأنه يفتقر إلى الملف أو الوثيقة التي يشترطها القانون.",
            "Le transfert a été refusé parce que la formalité ou le document qu'exige la loi fait défaut.",
            "The transfer was refused because the filing or document that the law requires is missing.",
        ),
        Reason::FilingNotGranted => (
            "رُفض النقل لأن السلطة لم تمنح الترخيص المطلوب بعد.",
            "Le transfert a été refusé parce que l'autorité n'a pas encore accordé l'autorisation demandée.",
            "The transfer was refused because the authority has not granted the filing yet.",
        ),
        Reason::FilingRefused => (
            "رُفض النقل لأن السلطة رفضت طلب الترخيص المتعلق به.",
            "Le transfert a été refusé parce que l'autorité a rejeté la demande qui le concerne.",
            "The transfer was refused because the authority turned its filing down.",
        ),
        Reason::FilingSuspended => (
            "رُفض النقل لأن السلطة علّقت الترخيص المتعلق به.",
            "Le transfert a été refusé parce que l'autorité a suspendu l'autorisation qui le concerne.",
            "The transfer was refused because the authority has suspended its filing.",
        ),
        Reason::FilingWithdrawn => (
            "رُفض النقل لأن السلطة سحبت الترخيص المتعلق به.",
            "Le transfert a été refusé parce que l'autorité a retiré l'autorisation qui le concerne.",
            "The transfer was refused because the authority has withdrawn its filing.",
        ),
        Reason::NotYetValid => (
            "رُفض النقل لأن مدة صلاحية الترخيص لم تبدأ بعد.",
            "Le transfert a été refusé parce que son autorisation n'est pas encore en vigueur.",
            "The transfer was refused because its filing is not valid yet.",
        ),
        Reason::Expired => (
            "رُفض النقل لأن مدة صلاحية الترخيص انتهت.",
            "Le transfert a été refusé parce que son autorisation a expiré.",
            "The transfer was refused because its filing has expired.",
        ),
        Reason::ReceiptMissing => (
            "رُفض النقل لأن المعالجة التي يندرج فيها لا تتوفر على وصل التصريح.",
            "Le transfert a été refusé parce que le traitement dont il relève n'a pas de récépissé.",
            "The transfer was refused because the processing that it belongs to has no receipt.",
        ),
        Reason::BasisImpossible => (
            "رُفض النقل لأن أساسه القانوني لا يصلح لبلد الجهة المرسل إليها.",
            "Le transfert a été refusé parce que sa base légale ne peut valoir pour le pays du destinataire.",
            "The transfer was refused because its legal basis cannot hold for the recipient's country.",
        ),
        Reason::Unresolvable => (
            "لم يُرسل شيء لأن اسم الوجهة لا يقابله أي عنوان.",
            "Rien n'a été transmis parce que le nom de la destination ne correspond à aucune adresse.",
            "Nothing was sent because no address was found for the destination's name.",
        ),
        Reason::Unreachable => (
            "لم يُرسل شيء لتعذّر الاتصال بالوجهة.",
            "Rien n'a été transmis parce que la destination est injoignable.",
            "Nothing was sent because the destination could not be reached.",
        ),
        Reason::UpstreamFault => (
            "لم يُرسل شيء بسبب عطل لدى الجهة المرسل إليها.",
            "Rien n'a été transmis à cause d'une défaillance du côté du destinataire.",
            "Nothing was sent because of a fault on the recipient's side.",
        ),
        Reason::SniMismatch => (
            "رُفض النقل لأن الاسم المطلوب في الاتصال المشفّر ليس اسم الوجهة.",
            "Le transfert a été refusé parce que le nom demandé dans la connexion chiffrée n'est pas celui de la destination.",
            "The transfer was refused because the name asked for in the encrypted connection is not the destination's.",
        ),
        Reason::TlsIdentityMismatch => (
            "رُفض النقل لأن الجهة المجيبة لم تثبت أنها المرسل إليه المصرّح به.",
            "Le transfert a été refusé parce que le serveur n'a pas prouvé qu'il est le destinataire déclaré.",
            "The transfer was refused because the server did not prove to be the declared recipient.",
        ),
        Reason::TlsTooOld => (
            "رُفض النقل لأن نسخة التشفير المقترحة أقدم من أن تحمي المعطيات.",
            "Le transfert a été refusé parce que la version de chiffrement proposée est trop ancienne pour protéger les données.",
            "The transfer was refused because the encryption on offer is too old to protect the data.",
        ),
        Reason::MeasureMissing => (
            "رُفض النقل لأن تدبيرا من تدابير الحماية الملتزم بها غير متوفر.",
            "Le transfert a été refusé parce qu'une mesure de protection promise n'est pas en place.",
            "The transfer was refused because a protective measure that was promised is not in place.",
        ),
        Reason::CountryMismatch => (
            "رُفض النقل لأن عنوان الوجهة يقع في بلد غير البلد المصرّح به.",
            "Le transfert a été refusé parce que l'adresse de destination se trouve dans un autre pays que celui déclaré.",
            "The transfer was refused because the destination's address lies in another country than declared.",
        ),
        Reason::MethodNotDeclared => (
            "رُفض النقل لأن التصريح لا يشمل هذا النوع من الطلبات.",
            "Le transfert a été refusé parce que cette méthode de requête n'est pas déclarée.",
            "The transfer was refused because this kind of request is not declared.",
        ),
        Reason::PathNotDeclared => (
            "رُفض النقل لأن التصريح لا يشمل هذا المسار لدى المرسل إليه.",
            "Le transfert a été refusé parce que ce chemin chez le destinataire n'est pas déclaré.",
            "The transfer was refused because this path at the recipient is not declared.",
        ),
        Reason::ContentTypeNotDeclared => (
            "رُفض النقل لأن التصريح لا يشمل هذا النوع من المحتوى.",
            "Le transfert a été refusé parce que ce type de contenu n'est pas déclaré.",
            "The transfer was refused because this type of content is not declared.",
        ),
        Reason::Uninspectable => (
            "رُفض النقل لتعذّر قراءة محتواه والتحقق منه.",
            "Le transfert a été refusé parce que son contenu ne peut être lu ni vérifié.",
            "The transfer was refused because its content cannot be read and checked.",
        ),
        Reason::CategoryNotDeclared => (
            "رُفض النقل لأنه يحمل صنفا من المعطيات الشخصية غير مصرّح به.",
            "Le transfert a été refusé parce qu'il contient une catégorie de données personnelles qui n'est pas déclarée.",
            "The transfer was refused because it holds a category of personal data that is not declared.",
        ),
        Reason::SensitiveNotAuthorised => (
            "رُفض النقل لأنه يحمل معطيات حساسة لا يشملها الترخيص.",
            "Le transfert a été refusé parce qu'il contient des données sensibles que l'autorisation ne couvre pas.",
            "The transfer was refused because it holds sensitive data that the filing does not cover.",
        ),
        Reason::TooLarge => (
            "رُفض النقل لأن حجمه يتجاوز الحجم المصرّح به.",
            "Le transfert a été refusé parce que sa taille dépasse celle qui est déclarée.",
            "The transfer was refused because it is larger than declared.",
        ),
        Reason::TooFrequent => (
            "رُفض النقل لأنه جاء قبل انقضاء الفترة المصرّح بها بين عمليتين.",
            "Le transfert a été refusé parce qu'il suit le précédent de plus près que la fréquence déclarée.",
            "The transfer was refused because it follows the one before it sooner than declared.",
        ),
        Reason::DayLimit => (
            "رُفض النقل لأن العدد المصرّح به لهذا اليوم استُنفد.",
            "Le transfert a été refusé parce que le nombre déclaré pour la journée est atteint.",
            "The transfer was refused because the number declared for one day is used up.",
        ),
        Reason::VolumeLimit => (
            "رُفض النقل لأن الحجم الإجمالي المصرّح به لهذا اليوم استُنفد.",
            "Le transfert a été refusé parce que le volume déclaré pour la journée est atteint.",
            "The transfer was refused because the volume declared for one day is used up.",
        ),
        Reason::Busy => (
            "لم يُعالج الطلب لأن الوسيط بلغ أقصى طاقته في هذه اللحظة.",
            "La requête n'a pas été traitée parce que le mandataire est momentanément saturé.",
            "The request was not handled because the proxy has no room for it at the moment.",
        ),
        Reason::RecordUnavailable => (
            "رُفض النقل لتعذّر تدوينه في سجل الإثبات.",
            "Le transfert a été refusé parce qu'il ne peut être consigné au registre des preuves.",
            "The transfer was refused because it cannot be put on record.",
        ),
    }
}
