using Influence.Display;
using Influence.Gradients;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>
/// What is exact in a training loop with the model in its present mode: <c>.grad</c> always, per-example values except where a
/// module mixes the examples of a batch or has no layer rule.
/// </summary>
/// <remarks>
/// It goes by the modules and their modes, and by what a few examples' losses do in a mode when others take their neighbours' places:
/// batch statistics or mixup in a model's own code are rows that sum to the batch's gradient. That is not seen before the
/// first step in a mode, nor where a graphics card's random numbers move the losses. Dropout that a model's own code calls is as the
/// module: the values are those of the pass that trains.
/// </remarks>
[TypeFormatterSource(typeof(HtmlFormatters))]
public sealed class TrainingExactness : IDisplay
{
    private TrainingExactness(IReadOnlyList<Row> modules) => Modules = modules;

    /// <summary>Every module with trainable parameters, and every one that is random or mixes examples in its present mode.</summary>
    public IReadOnlyList<Row> Modules { get; }

    /// <summary>Whether every example's values are those of its own gradient over all trainable parameters, in the pass that
    /// trains.</summary>
    public bool PerExampleIsExact => Modules.All(m => m.PerExample);

    internal static TrainingExactness Of(nn.Module model, TrainingSession session, ModeFacts? mode)
    {
        var plain = session.Plain.Select(p => p.Storage).ToHashSet();
        var trainable = session.Trainable.ToLookup(p => p.Owner, ReferenceEqualityComparer.Instance);
        var modules = ModelParameter.Modules(model).ToList();
        List<Row> rows = [.. modules.Select(Row).OfType<Row>()];
        if (mode is { Mixes: true } && !modules.Any(m => m.Module.training && ModelChecks.Mixes(m.Module)))
        {
            rows.Insert(
                0,
                new(
                    string.Empty,
                    model.GetType().Name,
                    false,
                    "an example's loss changes with the others of its batch: its row holds parts "
                        + "of their losses; the rows sum to the batch's gradient"
                )
            );
        }

        return new TrainingExactness(rows);

        Row? Row((string Path, nn.Module Module) m)
        {
            var own = trainable[m.Module].ToList();
            var (name, type) = (m.Path, m.Module.GetType().Name);
            var without = own.Where(p => plain.Contains(p.Storage)).Select(p => p.LocalName).ToList();
            if (m.Module.training && ModelChecks.Mixes(m.Module))
            {
                return new(
                    name,
                    type,
                    false,
                    "normalises by the batch's statistics: an example's row holds parts of the other examples' "
                        + "losses; the rows sum to the batch's gradient"
                );
            }

            if (m.Module.training && own.Count == 0 && ModelChecks.IsRandom(m.Module))
            {
                return new(name, type, true, "random: values are those of the pass that trains; validation runs in evaluation mode");
            }

            return without.Count > 0
                    ? new(name, type, false, $"{string.Join(", ", without)}: trained exactly, not in the per-example values")
                : own.Count > 0 ? new(name, type, true, "its own gradient")
                : null;
        }
    }

    /// <summary>One row a module.</summary>
    /// <returns>The table as text.</returns>
    public override string ToString() => ToTable().ToText();

    /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is encoded.</summary>
    /// <returns>The fragment: at most 50 rows.</returns>
    public string ToHtml() => ToTable().ToHtml();

    Table IDisplay.ToTable() => ToTable();

    private Table ToTable() =>
        new(
            $"The batch's gradient is exact; per-example values are {(PerExampleIsExact ? "exact" : "exact except where said")}",
            ["module", "type", "per example", "note"],
            [
                .. Modules.Select(m =>
                    (IReadOnlyList<object>)
                        [m.Module.Length == 0 ? "(the model)" : m.Module, m.Type, m.PerExample ? "exact" : "not exact", m.Note]
                ),
            ]
        );

    /// <summary>What is exact of one module in a training loop.</summary>
    /// <param name="Module">Its path in the model; empty for the model itself.</param>
    /// <param name="Type">Its type.</param>
    /// <param name="PerExample">Whether each example's values are its own gradient's, as far as this module goes.</param>
    /// <param name="Note">What the per-example values are of this module.</param>
    public sealed record Row(string Module, string Type, bool PerExample, string Note);
}
