using Influence.Gradients;
using TorchSharp;
using static TorchSharp.torch;

namespace Influence.Estimators;

/// <summary>What the linear layer that a pass calls last reads, a language model's head: its last hidden states. Disposing it takes the
/// hooks off.</summary>
internal sealed class LastLinearInput : IDisposable
{
    private readonly LossEvaluator _losses;
    private readonly List<Action> _unhook = [];
    private Tensor? _seen;
    private bool _watches;

    public LastLinearInput(InfluenceTask task)
    {
        var linear = ModelParameter.ForForward(task.Model).FindAll(p => p is { Owner: TorchSharp.Modules.Linear, LocalName: "weight" });
        if (linear.Count == 0)
        {
            throw new InfluenceException(
                "The model has no nn.Linear, whose input would be its last hidden states: write new RdsPlus(b => ...) with a delegate to "
                    + "them, [B, T, d]."
            );
        }

        using var scope = NewDisposeScope();
        _losses = new LossEvaluator(task, linear[0].Value.dtype, linear[0].Value.device);
        foreach (var parameter in linear)
        {
            _unhook.Add(
                ((TorchSharp.Modules.Linear)parameter.Owner)
                    .register_forward_hook(
                        (_, input, _) =>
                        {
                            if (_watches)
                            {
                                _seen?.Dispose();
                                _seen = input.detach().DetachFromDisposeScope();
                            }

                            // A null result leaves the output as it is; TorchSharp's delegate types do not say so.
                            return null!;
                        }
                    )
                    .remove
            );
        }
    }

    /// <summary>The hidden states of a batch under the training loss, in the current scope.</summary>
    public Tensor Of(ExampleBatch batch)
    {
        using var scope = NewDisposeScope();
        _watches = true;
        try
        {
            _losses.Evaluate(batch, LossKind.Training, finite: false);
            var seen =
                _seen
                ?? throw new InfluenceException(
                    "The training loss calls no nn.Linear of the model: write new RdsPlus(b => ...) with a delegate to the hidden states."
                );
            _seen = null;
            scope.Attach(seen);
            return seen.MoveToOuterDisposeScope();
        }
        finally
        {
            _watches = false;
        }
    }

    public void Dispose()
    {
        _unhook.ForEach(unhook => unhook());
        _seen?.Dispose();
    }
}
