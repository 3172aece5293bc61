using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Influence.Evaluation;
using Influence.Quality.Data;
using Influence.Quality.Parts;
using Influence.Training;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Quality.Training;

/// <summary>
/// The trainings of a set-up: models on all examples and retrained ones on subsets. What is finished is kept, in folders
/// that are named after their settings: other settings, other folders.
/// </summary>
internal sealed class Study(PartContext context, Recipe recipe, LabelledData data)
{
    private const string DoneFile = "done";
    private readonly SortedDictionary<string, double> _times = [];

    public Recipe Recipe { get; } = recipe;

    public LabelledData Data { get; } = data;

    /// <summary>Seconds of the trainings, by name.</summary>
    public IReadOnlyDictionary<string, double> Times => _times;

    /// <summary>What each retrained model measures: the queries' losses.</summary>
    public Retraining.Result Retrain(string name, Subsets subsets, IReadOnlyList<long> seeds, bool holes = false)
    {
        var settings =
            $"{Describe()}; {name}"
            + (
                !holes ? string.Empty
                : Recipe.KeepsShares ? ", batches of all examples, weight 0 for those left out"
                : ", batches of all examples with holes"
            );
        var folder = Path.Combine(
            context.Cache,
            $"{name}-{Hash($"{settings}; {subsets.Count} subsets; seeds {string.Join(", ", seeds)}")}"
        );
        var trainer = new Trainer(Recipe, Data.TrainX, Data.TrainY);
        var (clock, last, trained) = (Stopwatch.StartNew(), TimeSpan.Zero, 0);
        var runs = new Retraining(folder) { Seeds = seeds, Settings = settings }.Run(
            subsets,
            Data.Queries().Ids,
            run =>
            {
                using var scope = NewDisposeScope();
                using var model = trainer.Train(run.Ids, run.Seed, holes);
                trained++;
                return Trainer.Measure(model, Data.QueryX, Data.QueryY).Losses;
            },
            new Told(p =>
            {
                if (p.Done == p.Total || clock.Elapsed - last > TimeSpan.FromSeconds(20))
                {
                    last = clock.Elapsed;
                    context.Note($"{name}: {p.Done} of {p.Total} retrained");
                }
            })
        );
        if (trainer.Disturbed)
        {
            context.Note($"{name}: memory was collected while a model was trained");
        }

        if (trained > 0)
        {
            _times[$"{name}, {trained} retrainings"] = clock.Elapsed.TotalSeconds;
        }
        else
        {
            _times[$"{name}, {runs.Count} retrainings from the cache"] = 0;
        }

        return runs;
    }

    /// <summary>A model on all examples, with its checkpoints.</summary>
    public TrainedModel Full(long seed)
    {
        var folder = Path.Combine(
            context.Cache,
            $"model-{Hash(Describe() + string.Join(",", Recipe.CheckpointEpochs))}",
            string.Create(CultureInfo.InvariantCulture, $"seed-{seed}")
        );
        var done = Path.Combine(folder, DoneFile);
        if (!File.Exists(done))
        {
            if (Directory.Exists(folder))
            {
                Directory.Delete(folder, recursive: true);
            }

            var clock = Stopwatch.StartNew();
            using var scope = NewDisposeScope();
            using (var recorder = new CheckpointRecorder(folder) { EverySteps = int.MaxValue })
            using (new Trainer(Recipe, Data.TrainX, Data.TrainY).Train(Data.TrainIds, seed, recorder: recorder)) { }

            File.WriteAllText(done, clock.Elapsed.TotalSeconds.ToString("R", CultureInfo.InvariantCulture));
        }

        var seconds = double.Parse(File.ReadAllText(done), CultureInfo.InvariantCulture);
        _times[$"model on all examples, seed {seed}"] = seconds;
        return new TrainedModel(Recipe, CheckpointRecorder.Find(folder), seconds);
    }

    public string Describe() => $"{Data.Note}; {Recipe.Describe()}";

    /// <summary>A name for what else is kept of this set-up.</summary>
    public string Key(string what) => Hash($"{Describe()}; {what}");

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..12];

    /// <summary>Told at once, on the thread that trains.</summary>
    private sealed class Told(Action<InfluenceProgress> tell) : IProgress<InfluenceProgress>
    {
        public void Report(InfluenceProgress value) => tell(value);
    }
}
