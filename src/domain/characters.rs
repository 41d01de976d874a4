//! The characters of new names: the `FreeformClass` of RFC 8264, without characters that nobody sees.
//!
//! The tables of `icu_properties` decide, so a new emoji is allowed as soon as the crate knows it. Three rules differ from
//! the class. Characters that are ignored in display are refused everywhere, so the rules for joiners between letters are
//! not needed. Some blank symbols are refused. The middle dot is allowed everywhere, because Chinese writes foreign names
//! with it.

use icu_properties::props::{
    DefaultIgnorableCodePoint, EmojiModifier, ExtendedPictographic, GeneralCategory, HangulSyllableType, Script,
};
use icu_properties::{CodePointMapData, CodePointSetData};

const JOINER: char = '\u{200d}';
/// Asks for the coloured form of the character before it.
const EMOJI_FORM: char = '\u{fe0f}';
const KEYCAP: char = '\u{20e3}';

/// Letters and symbols without ink, which Unicode does not call ignorable.
const BLANKS: [char; 6] = ['\u{2800}', '\u{fffc}', '\u{13441}', '\u{13442}', '\u{16fe4}', '\u{1d159}'];

/// Whether a user's new name may have all characters of `text`.
pub(super) fn fit_user(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    (0..chars.len()).all(|place| fits(&chars, place))
}

/// Whether the new name of a coupon or an activity may have all characters of `text`. Emoji may be joined.
pub(super) fn fit_offer(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    (0..chars.len()).all(|place| fits(&chars, place) || forms_emoji(&chars, place))
}

fn fits(chars: &[char], place: usize) -> bool {
    let character = chars[place];
    is_visible(character) && fits_neighbours(chars, place) && !is_excepted(character)
}

/// Whether the class allows the category of the character, and people see it. Characters that the class allows for their
/// compatibility mapping all have such a category.
fn is_visible(character: char) -> bool {
    use GeneralCategory as Category;
    let category = CodePointMapData::<Category>::new().get(character);
    let is_refused = matches!(
        category,
        Category::Control
            | Category::Format
            | Category::PrivateUse
            | Category::Surrogate
            | Category::Unassigned
            | Category::LineSeparator
            | Category::ParagraphSeparator
    );
    let is_ignored = CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character);
    !is_refused && !is_ignored && !is_old_jamo(character) && !BLANKS.contains(&character)
}

/// Single letters of Korean syllables, which NFC has joined where modern Korean writes them.
fn is_old_jamo(character: char) -> bool {
    let kind = CodePointMapData::<HangulSyllableType>::new().get(character);
    [HangulSyllableType::LeadingJamo, HangulSyllableType::VowelJamo, HangulSyllableType::TrailingJamo].contains(&kind)
}

/// The exceptions of RFC 8264, section 9.6, that are refused: fillers, tone marks and repetition marks.
const fn is_excepted(character: char) -> bool {
    matches!(character, '\u{640}' | '\u{7fa}' | '\u{302e}' | '\u{302f}' | '\u{3031}'..='\u{3035}' | '\u{303b}')
}

/// The rules of RFC 5892, appendix A, for characters that are only allowed beside others.
fn fits_neighbours(chars: &[char], place: usize) -> bool {
    let script = CodePointMapData::<Script>::new();
    let is_of = |place: Option<usize>, wanted| {
        place.and_then(|place| chars.get(place)).is_some_and(|character| script.get(*character) == wanted)
    };
    let (before, after) = (place.checked_sub(1), place.checked_add(1));
    let none_of = |others: std::ops::RangeInclusive<char>| !chars.iter().any(|other| others.contains(other));
    match chars[place] {
        '\u{375}' => is_of(after, Script::Greek),
        '\u{5f3}' | '\u{5f4}' => is_of(before, Script::Hebrew),
        '\u{30fb}' => {
            let japanese = [Script::Hiragana, Script::Katakana, Script::Han];
            chars.iter().any(|character| japanese.contains(&script.get(*character)))
        }
        '\u{660}'..='\u{669}' => none_of('\u{6f0}'..='\u{6f9}'),
        '\u{6f0}'..='\u{6f9}' => none_of('\u{660}'..='\u{669}'),
        _ => true,
    }
}

/// Whether the character is an invisible part of an emoji: a joiner between two of them, or the form of the one before it.
fn forms_emoji(chars: &[char], place: usize) -> bool {
    let is_emoji = |character: &char| CodePointSetData::new::<ExtendedPictographic>().contains(*character);
    let (before, after) = (&chars[..place], chars.get(place + 1));
    match chars[place] {
        EMOJI_FORM => {
            let is_key = |key: &char| key.is_ascii_digit() || ['#', '*'].contains(key);
            before.last().is_some_and(|last| is_emoji(last) || is_key(last) && after == Some(&KEYCAP))
        }
        JOINER => {
            // The emoji may have a colour of skin or a form.
            let is_part =
                |part: &&char| **part == EMOJI_FORM || CodePointSetData::new::<EmojiModifier>().contains(**part);
            before.iter().rev().find(|part| !is_part(part)).is_some_and(is_emoji) && after.is_some_and(is_emoji)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_write_today_fit() {
        for text in [
            "ann",
            "Ann O'Neill-Smith",
            "名前 の 券",
            "買一送一·限時",
            "가나다",
            "Ολυμπία",
            "שלום",
            "محمد ٣",
            "e\u{301}",
        ]
        .into_iter()
        .chain(["🎟", "🇫🇷", "👍🏽", "🦊", "①", "ﬁ", "Ｔｅｌ", "a・の", "ß", "<b>&$€", "नमस्ते", "\u{3000}a"])
        {
            assert!(fit_user(text) && fit_offer(text), "{text:?}");
        }
    }

    #[test]
    fn what_nobody_sees_does_not_fit() {
        for hidden in [
            '\0',
            '\n',
            '\u{7f}',
            '\u{85}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{202a}',
            '\u{202e}',
            '\u{2028}',
            '\u{2029}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{2800}',
            '\u{3164}',
            '\u{fe0e}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{fffc}',
            '\u{1d159}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e0100}',
        ] {
            for text in [format!("{hidden}"), format!("a{hidden}b"), format!("名{hidden}"), format!("{hidden}1")] {
                assert!(!fit_user(&text) && !fit_offer(&text), "{text:?}");
            }
        }
    }

    #[test]
    fn characters_without_a_meaning_do_not_fit() {
        // Unassigned, a noncharacter, private use, an old Korean letter, and exceptions of the class.
        for character in ['\u{378}', '\u{10ffff}', '\u{fdd0}', '\u{e000}', '\u{1100}', '\u{640}', '\u{303b}', '\u{600}']
        {
            assert!(!fit_user(&format!("a{character}")), "{character:?}");
        }
    }

    #[test]
    fn some_characters_need_neighbours() {
        for (text, fits) in [
            ("\u{375}α", true),
            ("\u{375}a", false),
            ("א\u{5f3}", true),
            ("a\u{5f4}", false),
            ("カ\u{30fb}a", true),
            ("a\u{30fb}b", false),
            ("\u{661}\u{662}", true),
            ("\u{661}\u{6f2}", false),
        ] {
            assert_eq!(fit_user(text), fits, "{text:?}");
        }
    }

    #[test]
    fn emoji_are_joined_in_names_of_offers_only() {
        for text in ["❤️ sale", "1️⃣ free", "👨‍👩‍👧", "🏳️‍🌈", "👩🏽‍🚀!", "❤️‍🔥", "🎟\u{200d}🎟"]
        {
            assert!(fit_offer(text) && !fit_user(text), "{text:?}");
        }
        for text in
            ["1\u{fe0f}", "a\u{fe0f}", "❤\u{fe0f}\u{fe0f}", "🎟\u{200d}", "\u{200d}🎟", "🎟\u{200d}a", "1\u{200d}🎟"]
                .into_iter()
                .chain(["🎟\u{200d}\u{200d}🎟", "\u{fe0f}\u{200d}🎟", "\u{fe0f}", "1\u{200d}1"])
        {
            assert!(!fit_offer(text), "{text:?}");
        }
    }
}
