using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>Gradient descent, with momentum and weight decay as PyTorch defines them.</summary>
/// <remarks>
/// g &lt;- g + weight_decay p; m &lt;- momentum m + (1 - dampening) g (the first m is g);
/// p &lt;- p - lr m, or with Nesterov p &lt;- p - lr (g + momentum m).
/// </remarks>
public partial class SGD : OptimizerHelper, optim.IMomentum
{
    public SGD(
        IEnumerable<Parameter> parameters,
        double lr,
        double momentum = 0.0,
        double dampening = 0,
        double weight_decay = 0,
        bool nesterov = false,
        bool maximize = false)
        : this([new ParamGroup { Parameters = parameters }], lr, momentum, dampening, weight_decay, nesterov, maximize)
    {
    }

    public SGD(
        IEnumerable<ParamGroup> parameters,
        double lr,
        double momentum = 0.0,
        double dampening = 0,
        double weight_decay = 0,
        bool nesterov = false,
        bool maximize = false)
    {
        Setting.NotNegative(lr);
        Setting.NotNegative(momentum);
        Setting.NotNegative(weight_decay);
        if (nesterov && (momentum <= 0 || dampening != 0))
        {
            throw new ArgumentException("Nesterov momentum needs a momentum and no dampening.", nameof(nesterov));
        }

        _defaults = new Options
        {
            LearningRate = lr,
            InitialLearningRate = lr,
            momentum = momentum,
            dampening = dampening,
            weight_decay = weight_decay,
            nesterov = nesterov,
            maximize = maximize,
        };
        foreach (var group in parameters)
        {
            add_param_group(group);
        }
    }

    /// <summary>The momentum that later groups start with.</summary>
    public double Momentum
    {
        get => Defaults.momentum!.Value;
        set => Defaults.momentum = value;
    }

    private Options Defaults => (Options)_defaults;

    public override Tensor step(Func<Tensor>? closure = null) => _step<ParamGroup>(StepGroup, closure);

    public override void add_param_group(Modules.ParamGroup param_group)
    {
        var options = (Options)(param_group.Options ??= new Options());
        options.momentum ??= Defaults.momentum;
        options.dampening ??= Defaults.dampening;
        options.weight_decay ??= Defaults.weight_decay;
        options.nesterov ??= Defaults.nesterov;
        options.maximize ??= Defaults.maximize;
        AddGroup(param_group, parameter => new State(parameter));
    }

    private void StepGroup(ParamGroup group)
    {
        var options = group.Options;
        var momentum = options.momentum!.Value;
        var weightDecay = options.weight_decay!.Value;
        var rate = options.LearningRate!.Value;
        foreach (var parameter in group.Parameters)
        {
            var gradient = parameter.grad;
            if (gradient is null)
            {
                continue;
            }

            if (weightDecay != 0)
            {
                gradient = gradient.add(parameter, alpha: weightDecay);
            }

            if (momentum != 0)
            {
                var state = (State)_state[parameter.Handle];
                var buffer = state.Accumulate(gradient, momentum, options.dampening!.Value);
                gradient = options.nesterov!.Value ? gradient.add(buffer, alpha: momentum) : buffer;
            }

            parameter.add_(gradient, alpha: options.maximize!.Value ? rate : -rate);
        }
    }
}
