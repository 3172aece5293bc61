using Influence;
using TorchSharp;
using static TorchSharp.torch;

namespace Gpt2;

/// <summary>A model in several files with an index, as Hugging Face saves large ones.</summary>
internal static class Shards
{
    private const int Bytes = 500_000;

    /// <summary>Saves a model, and loads it into another one.</summary>
    /// <param name="trained">The model.</param>
    /// <param name="folder">Where the files go.</param>
    /// <param name="seed">Of the weights that are written over.</param>
    /// <param name="input">What both are run on, to hold one against the other.</param>
    /// <returns>The loaded one, ready to be asked.</returns>
    public static Gpt2Model SaveAndLoad(Gpt2Model trained, string folder, int seed, Tensor input)
    {
        OutputFolder.Prepare(folder);
        var index = Path.Combine(folder, "model.safetensors.index.json");
        Checkpoint.SaveSharded(index, trained, learningRate: 0, shardBytes: Bytes);
        var model = Gpt2Model.Create(Gpt2Settings.Bytes, seed);
        foreach (var note in Checkpoint.FromFile(index).LoadInto(model))
        {
            Console.WriteLine(note);
        }

        model.eval();
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        var difference = (model.call(input) - trained.call(input)).abs().max().item<float>();
        Console.WriteLine(
            $"Saved in {Directory.GetFiles(folder, "*.safetensors").Length} files and loaded: the largest difference "
                + $"between logits is {difference}."
        );
        return model;
    }
}
