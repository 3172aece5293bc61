using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace SelectBestTenth;

/// <summary>Tells the next click from the mean of the last ones' embeddings, by two layers, or by one where it is the small one.</summary>
internal sealed class Recommender : nn.Module<Tensor, Tensor>
{
    private const int BatchSize = 50;

    private readonly nn.Module<Tensor, Tensor> items;
    private readonly nn.Module<Tensor, Tensor>? hidden;
    private readonly nn.Module<Tensor, Tensor> head;

    private Recommender(int width, int hiddenWidth)
        : base(nameof(Recommender))
    {
        items = nn.Embedding(Recommendations.Items, width);
        hidden = hiddenWidth > 0 ? nn.Linear(width, hiddenWidth) : null;
        head = nn.Linear(hiddenWidth > 0 ? hiddenWidth : width, Recommendations.Items);
        RegisterComponents();
    }

    public static Recommender Small(int seed) => Create(seed, 16, 0);

    public static Recommender Large(int seed) => Create(seed, 64, 128);

    /// <param name="input">Clicks, <c>[B, 5]</c>.</param>
    /// <returns>Logits of the next, <c>[B, 400]</c>.</returns>
    public override Tensor forward(Tensor input)
    {
        var x = items.call(input).mean([1L]); // [B, D]
        return head.call(hidden is null ? x : F.relu(hidden.call(x)));
    }

    /// <summary>Adam on batches of some examples.</summary>
    public void Train(
        Recommendations data,
        IReadOnlyList<long> ids,
        int steps,
        int seed,
        CancellationToken cancellationToken,
        double rate = 3e-3
    )
    {
        train();
        using var optimizer = optim.AdamW(parameters(), rate);
        var random = Randomness.For(seed, "order of the clicks");
        for (var step = 0; step < steps; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var batch = tensor(Enumerable.Range(0, BatchSize).Select(_ => ids[random.Next(ids.Count)]).ToArray());
            var loss = F.cross_entropy(call(data.Seen.index_select(0, batch)), data.Next.index_select(0, batch));
            optimizer.zero_grad();
            loss.backward();
            optimizer.step();
        }

        eval();
    }

    /// <summary>The share of examples whose next click is among the ten that are put first.</summary>
    public double HitsAmongTen(Recommendations data)
    {
        using var noGrad = no_grad();
        using var scope = NewDisposeScope();
        var (_, best) = call(data.Seen).topk(10, 1); // [N, 10]
        return best.eq(data.Next.unsqueeze(1)).any(1).to_type(ScalarType.Float64).mean().item<double>();
    }

    private static Recommender Create(int seed, int width, int hiddenWidth)
    {
        manual_seed(Randomness.SeedFor(seed, "weights of the recommender"));
        return new Recommender(width, hiddenWidth);
    }
}
