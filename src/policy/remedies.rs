//! What somebody can do about a refusal, in Arabic, French and English; shown below the sentence of the reason.
//!
//! Several reasons have one remedy, and some have none. None promises that a transfer will pass: it says whom to go to
//! and what is missing.

use super::reason::Reason;
use super::sentences::Sentences;

/// What can be done. Closed, like the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The program that sends has to be corrected.
    CorrectProgram,
    /// The network's settings have to be looked at.
    AskEngineer,
    /// The user's name has to be given.
    Identify,
    /// It may pass at another attempt.
    TryAgain,
    /// The sending system is to be declared.
    DeclareSource,
    /// The transfer is to be declared.
    Declare,
    /// There is a declared form of it: another port, path, method or type.
    UseDeclaredForm,
    /// The declaration lacks a document, a receipt or a possible basis.
    CompleteDeclaration,
    /// The authority has to decide first, or its decision to begin.
    AwaitAuthority,
    /// The authority said no.
    StopSending,
    /// The filing has to be renewed.
    Renew,
    /// The recipient's server has to be checked.
    CheckRecipient,
    /// It has to be sent in a form that can be read.
    SendReadable,
    /// Data have to be taken out, or declared.
    TakeOut,
    /// Less has to be sent at once.
    SendLess,
    /// It has to wait.
    SendLater,
}

impl Remedy {
    /// The remedy of a reason; `None` where nobody is answered, or nothing helps.
    pub(super) fn of(reason: Reason) -> Option<Remedy> {
        match reason {
            Reason::MalformedRequest | Reason::AmbiguousDestination | Reason::NumericHost => {
                Some(Remedy::CorrectProgram)
            }
            Reason::Loop | Reason::AddressRefused | Reason::RecordUnavailable => Some(Remedy::AskEngineer),
            Reason::CredentialsRequired => Some(Remedy::Identify),
            Reason::ClientTimeout
            | Reason::Unresolvable
            | Reason::Unreachable
            | Reason::UpstreamFault
            | Reason::Busy => Some(Remedy::TryAgain),
            Reason::ClientClosed => None,
            Reason::SourceUnknown => Some(Remedy::DeclareSource),
            Reason::NoDeclaration | Reason::SourceNotDeclared => Some(Remedy::Declare),
            Reason::PortNotDeclared
            | Reason::CleartextNotDeclared
            | Reason::MethodNotDeclared
            | Reason::PathNotDeclared
            | Reason::ContentTypeNotDeclared => Some(Remedy::UseDeclaredForm),
            Reason::FilingMissing | Reason::ReceiptMissing | Reason::BasisImpossible => {
                Some(Remedy::CompleteDeclaration)
            }
            Reason::FilingNotGranted | Reason::NotYetValid => Some(Remedy::AwaitAuthority),
            Reason::SuspendedByOrder | Reason::FilingRefused | Reason::FilingSuspended | Reason::FilingWithdrawn => {
                Some(Remedy::StopSending)
            }
            Reason::Expired => Some(Remedy::Renew),
            Reason::SniMismatch
            | Reason::TlsIdentityMismatch
            | Reason::TlsTooOld
            | Reason::MeasureMissing
            | Reason::CountryMismatch => Some(Remedy::CheckRecipient),
            Reason::Uninspectable => Some(Remedy::SendReadable),
            Reason::CategoryNotDeclared | Reason::SensitiveNotAuthorised => Some(Remedy::TakeOut),
            Reason::TooLarge => Some(Remedy::SendLess),
            Reason::TooFrequent | Reason::DayLimit | Reason::VolumeLimit => Some(Remedy::SendLater),
        }
    }

    /// Whether a declaration that is made or changed is what helps: then the steps to one are shown.
    pub fn is_a_declaration(self) -> bool {
        match self {
            Remedy::DeclareSource
            | Remedy::Declare
            | Remedy::UseDeclaredForm
            | Remedy::CompleteDeclaration
            | Remedy::TakeOut => true,
            Remedy::CorrectProgram
            | Remedy::AskEngineer
            | Remedy::Identify
            | Remedy::TryAgain
            | Remedy::AwaitAuthority
            | Remedy::StopSending
            | Remedy::Renew
            | Remedy::CheckRecipient
            | Remedy::SendReadable
            | Remedy::SendLess
            | Remedy::SendLater => false,
        }
    }

    pub(super) fn texts(self) -> Sentences {
        let (ar, fr, en) = match self {
            Remedy::CorrectProgram => (
                "اطلب من المسؤول عن البرنامج المرسل تصحيح الطلب؛ فإعادة المحاولة كما هي لن تنفع.",
                "Faites corriger le programme qui envoie ; recommencer tel quel ne servira à rien.",
                "Have the program that sends corrected; trying again unchanged will not help.",
            ),
            Remedy::AskEngineer => (
                "أبلغ مهندس الشبكة بهذا الرفض وأعطه رقم السجل.",
                "Signalez ce refus à l'ingénieur réseau en lui donnant le numéro d'enregistrement.",
                "Tell the network engineer about this refusal and give the record number.",
            ),
            Remedy::Identify => (
                "أدخل اسم المستخدم وكلمة المرور في إعدادات الوسيط ثم أعد المحاولة.",
                "Indiquez votre nom d'utilisateur et votre mot de passe dans les réglages du mandataire, puis réessayez.",
                "Give your user name and password in the proxy settings, then try again.",
            ),
            Remedy::TryAgain => (
                "تحقق من العنوان وأعد المحاولة بعد قليل؛ وإن تكرر ذلك فأبلغ مهندس الشبكة.",
                "Vérifiez l'adresse et réessayez un peu plus tard ; si cela se répète, signalez-le à l'ingénieur réseau.",
                "Check the address and try again a little later; if it happens again, tell the network engineer.",
            ),
            Remedy::DeclareSource => (
                "اطلب من مسؤول حماية المعطيات أن يصرّح بهذا الجهاز أو النظام بصفته مصدرا.",
                "Demandez au délégué à la protection des données de déclarer ce poste ou ce système comme source.",
                "Ask the data protection officer to declare this device or system as a source.",
            ),
            Remedy::Declare => (
                "اطلب من مسؤول حماية المعطيات التصريح بهذا النقل قبل إرسال أي شيء.",
                "Demandez au délégué à la protection des données de déclarer ce transfert avant tout envoi.",
                "Ask the data protection officer to have this transfer declared before anything is sent.",
            ),
            Remedy::UseDeclaredForm => (
                "استعمل الصيغة المصرّح بها لهذه الوجهة (المنفذ أو المسار أو نوع المحتوى)، أو اطلب تعديل التصريح.",
                "Utilisez la forme déclarée pour cette destination (port, chemin, type de contenu), ou faites modifier la déclaration.",
                "Use the form that is declared for this destination (port, path, type of content), or have the declaration changed.",
            ),
            Remedy::CompleteDeclaration => (
                "على مسؤول حماية المعطيات استكمال التصريح؛ أبلغه بهذا الرفض.",
                "Le délégué à la protection des données doit compléter la déclaration ; signalez-lui ce refus.",
                "The data protection officer has to complete the declaration; report this refusal there.",
            ),
            Remedy::AwaitAuthority => (
                "انتظر قرار السلطة وبداية سريانه؛ ومسؤول حماية المعطيات يعرف حالة الملف.",
                "Attendez la décision de l'autorité et son entrée en vigueur ; le délégué à la protection des données connaît l'état du dossier.",
                "Wait for the authority's decision and its first day; the data protection officer knows how the filing stands.",
            ),
            Remedy::StopSending => (
                "أوقف الإرسال وراجع مسؤول حماية المعطيات؛ فالسلطة وحدها تستطيع رفع هذا المنع.",
                "Cessez l'envoi et adressez-vous au délégué à la protection des données ; seule l'autorité peut lever cette interdiction.",
                "Stop sending and go to the data protection officer; only the authority can lift this.",
            ),
            Remedy::Renew => (
                "أبلغ مسؤول حماية المعطيات بأن الترخيص انتهى ويجب تجديده.",
                "Signalez au délégué à la protection des données que l'autorisation a pris fin et doit être renouvelée.",
                "Tell the data protection officer that the filing has ended and has to be renewed.",
            ),
            Remedy::CheckRecipient => (
                "لا تحاول الالتفاف على هذا المنع؛ على مهندس الشبكة أن يتحقق من خادم المرسل إليه.",
                "Ne cherchez pas à contourner ce refus ; l'ingénieur réseau doit vérifier le serveur du destinataire.",
                "Do not try to go around this; the network engineer has to check the recipient's server.",
            ),
            Remedy::SendReadable => (
                "أرسل المحتوى دون تشفير أو كلمة مرور أو ضغط، وبصيغة مصرّح بها.",
                "Envoyez le contenu sans chiffrement, mot de passe ni archive, dans un format déclaré.",
                "Send the content without encryption, password or archive, in a declared format.",
            ),
            Remedy::TakeOut => (
                "احذف هذه المعطيات من المحتوى، أو اطلب من مسؤول حماية المعطيات توسيع التصريح.",
                "Retirez ces données du contenu, ou demandez au délégué à la protection des données d'étendre la déclaration.",
                "Take these data out, or ask the data protection officer to have the declaration extended.",
            ),
            Remedy::SendLess => (
                "قسّم المحتوى أو صغّر حجمه، أو اطلب رفع الحد المصرّح به.",
                "Divisez ou réduisez le contenu, ou faites relever la limite déclarée.",
                "Divide or shrink the content, or have the declared limit raised.",
            ),
            Remedy::SendLater => (
                "أعد الإرسال لاحقا؛ وإن كانت الحاجة دائمة فاطلب تعديل التصريح.",
                "Renvoyez plus tard ; si le besoin est durable, faites modifier la déclaration.",
                "Send again later; if the need is lasting, have the declaration changed.",
            ),
        };
        Sentences { ar, fr, en }
    }
}
