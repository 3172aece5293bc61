using Influence.Display;

namespace Influence.Distributed;

public sealed partial record Work
{
    /// <summary>What a call would take, by the arithmetic of its sizes and a sample that was timed.</summary>
    /// <param name="Time">Of one process on this machine, from the sample. That of several is this over their number, while there are more
    /// units than processes.</param>
    /// <param name="MemoryBytes">Of each process at most, beside the model, a preconditioner and one batch's activations.</param>
    /// <param name="DiskBytes">Of what the call keeps on the disk, together.</param>
    /// <param name="Units">In how many units it would be done.</param>
    [TypeFormatterSource(typeof(HtmlFormatters))]
    public sealed record Cost(TimeSpan Time, long MemoryBytes, long DiskBytes, int Units) : IDisplay
    {
        /// <summary>The processor's part of <see cref="Time"/>, all threads of the process together: less than the clock's where others use
        /// the machine, more where several threads work. Null where the system does not tell.</summary>
        public TimeSpan? Processor { get; init; }

        /// <summary>A table of the figures.</summary>
        /// <returns>The table as text.</returns>
        public override string ToString() => ToTable().ToText();

        /// <summary>Gives the table as an HTML fragment, for front ends that ask for it by this name; every text in it is
        /// encoded.</summary>
        /// <returns>The fragment.</returns>
        public string ToHtml() => ToTable().ToHtml();

        Table IDisplay.ToTable() => ToTable();

        internal static string InWords(TimeSpan time) =>
            time < TimeSpan.FromMinutes(2) ? $"{time.TotalSeconds:0.0} s" : $"{time.TotalMinutes:0} min";

        private Table ToTable() =>
            new(
                "Cost of the call",
                ["what", "how much"],
                [
                    ["time of one process", InWords(Time)],
                    .. Processor is { } processor
                        ?
                        [
                            ["of the processor", InWords(processor)],
                        ]
                        : Array.Empty<IReadOnlyList<object>>(),
                    ["memory of a process, at most", $"{MemoryBytes / (double)(1 << 20):N1} MiB"],
                    ["disk", $"{DiskBytes / (double)(1 << 20):N1} MiB"],
                    ["units", Units],
                ]
            );
    }
}
