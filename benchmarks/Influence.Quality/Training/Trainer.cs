using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;
using F = TorchSharp.torch.nn.functional;

namespace Influence.Quality.Training;

/// <summary>Trains a recipe's model on some of the examples.</summary>
/// <param name="recipe">How.</param>
/// <param name="x">Inputs of all training examples.</param>
/// <param name="y">Targets of all training examples.</param>
internal sealed class Trainer(Recipe recipe, Tensor x, Tensor y)
{
    /// <summary>Whether memory was collected while one of the trainings went on, see <see cref="QuietHeap"/>.</summary>
    public bool Disturbed { get; private set; }

    /// <param name="ids">The examples to train on.</param>
    /// <param name="seed">Of the weights at the start, the order of the batches and dropout.</param>
    /// <param name="holes">Whether batches are those of all examples, less what is left out, and not filled up.</param>
    /// <param name="recorder">Where checkpoints go; null for none.</param>
    /// <returns>The model, in evaluation mode; the caller disposes it.</returns>
    public nn.Module<Tensor, Tensor> Train(IReadOnlyList<long> ids, long seed, bool holes = false, CheckpointRecorder? recorder = null)
    {
        using var heap = new QuietHeap();
        manual_seed(seed);
        var model = recipe.Create();
        model.train();
        using optim.Optimizer optimizer = recipe.Adam
            ? optim.AdamW(model.parameters(), recipe.LearningRate, eps: recipe.AdamEpsilon, weight_decay: recipe.WeightDecay)
            : optim.SGD(model.parameters(), recipe.LearningRate, recipe.Momentum, weight_decay: recipe.WeightDecay);
        var (kept, all) = (ids.ToHashSet(), Enumerable.Range(0, (int)x.shape[0]).Select(i => (long)i));
        var stepsAnEpoch = Batches(0).Count();
        for (var (epoch, step) = (0, 0); epoch < recipe.Epochs; epoch++)
        {
            foreach (var (batch, full) in Batches(epoch))
            {
                using var scope = NewDisposeScope();
                if (recipe.RateFalls)
                {
                    optimizer.ParamGroups.First().LearningRate =
                        recipe.LearningRate * (1 - ((double)step / (stepsAnEpoch * recipe.Epochs)));
                }

                var index = tensor(batch); // [B]
                var logits = model.call(x.index_select(0, index)); // [B, C] or [B, T, C]
                var loss = F.cross_entropy(logits.reshape(-1, logits.shape[^1]), y.index_select(0, index).reshape(-1));
                if (holes && recipe.KeepsShares)
                {
                    loss *= tensor((float)batch.Length / full);
                }

                optimizer.zero_grad();
                loss.backward();
                optimizer.step();
                recorder?.Step(model, optimizer);
                step++;
            }

            if (recipe.CheckpointEpochs.Contains(epoch + 1))
            {
                recorder?.Save(model, optimizer);
            }
        }

        Disturbed |= heap.WasDisturbed;
        model.eval();
        return model;

        IEnumerable<(long[] Ids, int Full)> Batches(int epoch) =>
            holes
                ? BatchOrder.WithHoles(all, kept, seed, epoch, recipe.BatchSize)
                : BatchOrder.Batches(ids, seed, epoch, recipe.BatchSize).Select(batch => (batch, batch.Length));
    }

    /// <summary>Each example's loss, <c>[N]</c>, and the share of targets that the model names first.</summary>
    public static (double[] Losses, double Accuracy) Measure(nn.Module<Tensor, Tensor> model, Tensor x, Tensor y, int batchSize = 500)
    {
        using var noGrad = no_grad();
        var losses = new List<double>();
        var right = 0L;
        for (long start = 0; start < x.shape[0]; start += batchSize)
        {
            using var scope = NewDisposeScope();
            var count = Math.Min(batchSize, x.shape[0] - start);
            var targets = y.narrow(0, start, count);
            var logits = model.call(x.narrow(0, start, count));
            losses.AddRange(Losses.CrossEntropy(logits, targets).to_type(ScalarType.Float64).data<double>().ToArray());
            right += logits.argmax(-1).eq(targets).sum().item<long>();
        }

        return ([.. losses], (double)right / y.numel());
    }
}
