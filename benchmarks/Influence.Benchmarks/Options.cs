using System.CommandLine;
using Influence.Benchmarks.Selecting;
using Influence.Benchmarks.Workloads;

namespace Influence.Benchmarks;

/// <summary>What the command line asks for.</summary>
/// <param name="Workloads">The workloads to run.</param>
/// <param name="Selections">The selection strategies to run.</param>
/// <param name="Methods">Any of tracin, influence, groups and training.</param>
/// <param name="Quick">Every measurement once, on fewer examples where all of them take minutes.</param>
/// <param name="Device">cpu, or cuda with an optional number.</param>
/// <param name="Profile">Where the time goes, stage by stage, in place of how long calls take.</param>
/// <param name="Output">The folder of the result files; null for none.</param>
internal sealed record Options(
    IReadOnlyList<string> Workloads,
    IReadOnlyList<string> Selections,
    IReadOnlyList<string> Methods,
    bool Quick,
    string Device,
    bool Profile,
    string? Output
)
{
    public const string TracIn = "tracin";
    public const string Influence = "influence";
    public const string Groups = "groups";
    public const string Training = "training";

    private static readonly string[] s_methods = [TracIn, Influence, Groups, Training];
    private static readonly string[] s_selections = [.. SelectionCases.All.Select(one => one.Key)];

    private static readonly Option<string[]> s_workload = Repeated("--only", "one workload (may be repeated)", WorkloadCatalog.Names);
    private static readonly Option<string[]> s_selection = Repeated("--only", "one strategy (may be repeated)", s_selections);
    private static readonly Option<string[]> s_method = Repeated("--method", "one method (may be repeated)", s_methods);
    private static readonly Option<bool> s_quick = new("--quick")
    {
        Description = "every measurement once, on fewer examples where all of them take minutes",
    };
    private static readonly Option<string> s_device = OfDevice();

    private static readonly Option<string> s_output = new("--output")
    {
        HelpName = "FOLDER",
        Description = "where the result files go; benchmarks/results of the repository unless given",
    };

    private static readonly Option<bool> s_profile = new("--profile")
    {
        Description = "where the time goes, stage by stage, beside the same operations alone in libtorch",
    };

    private static readonly Option<bool> s_noFiles = new("--no-files") { Description = "print only" };

    /// <summary>The options of a command that runs workloads.</summary>
    public static IReadOnlyList<Option> OfWorkloads { get; } = [s_workload, s_method, s_quick, s_device, s_profile, s_output, s_noFiles];

    /// <summary>The options of the command that runs selection strategies.</summary>
    public static IReadOnlyList<Option> OfSelections { get; } = [s_selection, s_quick, s_output, s_noFiles];

    public static Options Of(ParseResult given) =>
        new(
            given.GetValue(s_workload) is { Length: > 0 } workloads ? [.. workloads.Distinct()] : WorkloadCatalog.Names,
            given.GetValue(s_selection) is { Length: > 0 } selections ? selections : s_selections,
            given.GetValue(s_method) is { Length: > 0 } methods ? methods : s_methods,
            given.GetValue(s_quick),
            given.GetValue(s_device) ?? "cpu",
            given.GetValue(s_profile),
            given.GetValue(s_noFiles) ? null : given.GetValue(s_output) ?? Repository.Folder("benchmarks", "results")
        );

    private static Option<string[]> Repeated(string name, string what, IReadOnlyList<string> words)
    {
        var option = new Option<string[]>(name) { HelpName = string.Join('|', words), Description = what };
        option.Validators.Add(result => result.OnlyFrom(words));
        return option;
    }

    private static Option<string> OfDevice()
    {
        var option = new Option<string>("--device")
        {
            HelpName = "cpu|cuda|cuda:N",
            Description = "where the models and data are",
            DefaultValueFactory = _ => "cpu",
        };
        option.Validators.Add(result =>
        {
            if (result.Tokens is [var token, ..] && !IsDevice(token.Value))
            {
                result.AddError($"--device takes cpu, cuda or cuda:N; found '{token.Value}'.");
            }
        });
        return option;
    }

    private static bool IsDevice(string device) =>
        device is "cpu" or "cuda"
        || (device.StartsWith("cuda:", StringComparison.Ordinal) && int.TryParse(device["cuda:".Length..], out var n) && n >= 0);
}
