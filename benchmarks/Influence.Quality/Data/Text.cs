using static TorchSharp.torch;

namespace Influence.Quality.Data;

/// <summary>Windows of bytes of free software licences, each with the byte after every position.</summary>
internal static class Text
{
    public static LabelledData Load(int train, int queries, long positions)
    {
        var ((x, y), (qx, qy), note) = TextBytes.Load(DataFolder.Find(), new WorkloadSize(train, queries), positions, CPU);
        return note.StartsWith("random", StringComparison.Ordinal)
            ? throw new BenchmarkException(
                "The licences' texts of Debian's base-files (common-licenses) are not there, or too short: they are the training data."
            )
            : new LabelledData(
                $"{note}, {train:N0} training and {queries:N0} query windows of {positions} positions, drawn from one text",
                x,
                y,
                qx,
                qy
            );
    }
}
