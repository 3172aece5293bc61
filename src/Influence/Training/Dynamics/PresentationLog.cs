using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Training;

/// <summary>What was kept of each presentation, in the order of the run.</summary>
internal sealed class PresentationLog
{
    private readonly Column<long> _ends = new();
    private readonly Column<int> _empty = new();

    public Appearances Appearances { get; } = new();

    public Column<float> Probability { get; } = new();

    public Column<float> Margin { get; } = new();

    public Column<float> Loss { get; } = new();

    public Column<float> El2n { get; } = new();

    public Column<byte> Correct { get; } = new();

    public long Count => Correct.Count;

    public long Steps => _ends.Count;

    /// <summary>Presentations that had no position that counts.</summary>
    public long Empty { get; private set; }

    public void Add(int example, OutputMeasures measures, int row, bool correct)
    {
        Appearances.Add(example);
        Probability.Add((float)measures.Probability[row]);
        Margin.Add((float)measures.Margin[row]);
        Loss.Add((float)measures.Loss[row]);
        El2n.Add((float)measures.El2n[row]);
        Correct.Add(correct ? (byte)1 : (byte)0);
    }

    /// <summary>Ends a step.</summary>
    /// <param name="empty">How many of its examples had no position that counts.</param>
    public void EndStep(int empty)
    {
        _ends.Add(Count);
        _empty.Add(empty);
        Empty += empty;
    }

    public IEnumerable<(string Name, Tensor Value)> ToTensors() =>
        [
            ("example", Appearances.Examples.ToTensor(a => tensor(a))), // [P] int32
            ("probability", Probability.ToTensor(a => tensor(a))), // [P]
            ("margin", Margin.ToTensor(a => tensor(a))), // [P]
            ("loss", Loss.ToTensor(a => tensor(a))), // [P]
            ("el2n", El2n.ToTensor(a => tensor(a))), // [P]
            ("correct", Correct.ToTensor(a => tensor(a))), // [P] uint8
            ("step_ends", _ends.ToTensor(a => tensor(a))), // [S] int64
            ("step_empty", _empty.ToTensor(a => tensor(a))), // [S] int32
        ];

    /// <summary>Takes over the first steps of a file.</summary>
    public void AddFrom(IReadOnlyDictionary<string, Tensor> tensors, long steps)
    {
        _ends.AddFrom(tensors["step_ends"], steps);
        _empty.AddFrom(tensors["step_empty"], steps);
        for (long step = 0; step < steps; step++)
        {
            Empty += _empty[step];
        }

        var count = steps == 0 ? 0 : _ends[steps - 1];
        var examples = new Column<int>();
        examples.AddFrom(tensors["example"], count);
        for (long i = 0; i < count; i++)
        {
            Appearances.Add(examples[i]);
        }

        Probability.AddFrom(tensors["probability"], count);
        Margin.AddFrom(tensors["margin"], count);
        Loss.AddFrom(tensors["loss"], count);
        El2n.AddFrom(tensors["el2n"], count);
        Correct.AddFrom(tensors["correct"], count);
    }
}
