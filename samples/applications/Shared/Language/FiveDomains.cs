namespace Samples.Language;

/// <summary>Five domains that differ plainly: an old translation, three languages of today, one of them in another script, and
/// code.</summary>
internal static class FiveDomains
{
    public static IReadOnlyList<Domain> All { get; } =
    [
        new("King James Bible", "bible-kjv-text", KingJamesBible.ReadVerses),
        Domain.FromFortunes(
            "Russian",
            "fortunes-ru",
            "ru/book",
            "ru/education",
            "ru/friendship",
            "ru/happy",
            "ru/life",
            "ru/time",
            "ru/truth",
            "ru/work"
        ),
        new("JavaScript", "libjs-jquery", () => SourceCode.ReadBlocks("/usr/share/javascript/jquery/jquery.js", "libjs-jquery")),
        Domain.FromFortunes(
            "Spanish",
            "fortunes-es",
            "es/arte.fortunes",
            "es/ciencia.fortunes",
            "es/filosofia.fortunes",
            "es/refranes.fortunes",
            "es/sabiduria.fortunes"
        ),
        Domain.FromFortunes("Italian", "fortunes-it", "it/formiche", "it/italia", "it/leggi"),
    ];
}
