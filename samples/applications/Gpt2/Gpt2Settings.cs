namespace Gpt2;

/// <summary>GPT-2's sizes, by the names of Hugging Face's <c>config.json</c>.</summary>
internal sealed record Gpt2Settings
{
    /// <summary>What this sample trains: one token a byte.</summary>
    public static Gpt2Settings Bytes { get; } =
        new()
        {
            Vocabulary = 256,
            Positions = Passage.MostBytes,
            Width = 96,
            Layers = 3,
            Heads = 4,
        };

    /// <summary>vocab_size.</summary>
    public required int Vocabulary { get; init; }

    /// <summary>n_positions.</summary>
    public required int Positions { get; init; }

    /// <summary>n_embd.</summary>
    public required int Width { get; init; }

    /// <summary>n_layer.</summary>
    public required int Layers { get; init; }

    /// <summary>n_head.</summary>
    public required int Heads { get; init; }
}
