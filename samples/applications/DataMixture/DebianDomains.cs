namespace DataMixture;

/// <summary>
/// Eight domains to mix, and two targets that are none of them: sayings in Portuguese, a language of which no domain has
/// anything and two have relatives, and manual pages in German, whose language is one domain's and whose form another's.
/// </summary>
internal static class DebianDomains
{
    public static IReadOnlyList<Domain> Training { get; } =
    [
        new("scripture", "bible-kjv-text", KingJamesBible.ReadVerses),
        Domain.FromFortunes(
            "English",
            "fortunes",
            "computers",
            "cookie",
            "definitions",
            "people",
            "politics",
            "science",
            "songs-poems",
            "wisdom",
            "work"
        ),
        Domain.FromFortunes(
            "Russian",
            "fortunes-ru",
            "ru/art",
            "ru/book",
            "ru/education",
            "ru/friendship",
            "ru/future",
            "ru/knowledge",
            "ru/life",
            "ru/work"
        ),
        new(
            "manual pages",
            "manpages",
            () =>
                Pages(
                    "manpages",
                    ["man5/proc.5", "man7/capabilities.7", "man7/cgroups.7", "man7/ip.7", "man7/sched.7", "man7/signal.7", "man7/tcp.7"]
                )
        ),
        Domain.FromFortunes(
            "Spanish",
            "fortunes-es",
            "es/arte.fortunes",
            "es/ciencia.fortunes",
            "es/filosofia.fortunes",
            "es/refranes.fortunes",
            "es/sabiduria.fortunes"
        ),
        new("JavaScript", "libjs-jquery", () => SourceCode.ReadBlocks("/usr/share/javascript/jquery/jquery.js", "libjs-jquery")),
        Domain.FromFortunes("German", "fortunes-de", "de/witze"),
        Domain.FromFortunes("Italian", "fortunes-it", "it/formiche", "it/leggi"),
    ];

    public static IReadOnlyList<Domain> Targets { get; } =
    [
        Domain.FromFortunes("Italian quotations", "fortunes-it", "it/luke", "it/norm", "it/paolotedeschi"),
        new(
            "German manual",
            "manpages-de",
            () => Pages("manpages-de", ["de/man1/find.1", "de/man1/grep.1", "de/man1/less.1", "de/man1/ps.1", "de/man1/tar.1"])
        ),
    ];

    private static IEnumerable<string> Pages(string package, IEnumerable<string> pages) =>
        pages.Select(page => ManualPage.Read(page, package));
}
