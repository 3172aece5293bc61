using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>Adam (Kingma and Ba 2015), with weight decay as part of the gradient.</summary>
/// <remarks>
/// g &lt;- g + weight_decay p; m &lt;- beta1 m + (1 - beta1) g; v &lt;- beta2 v + (1 - beta2) g^2;
/// p &lt;- p - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps).
/// </remarks>
public partial class Adam : OptimizerHelper, optim.IBetas
{
    public Adam(
        IEnumerable<Parameter> parameters,
        double lr = 1e-3,
        double beta1 = 0.9,
        double beta2 = 0.999,
        double eps = 1e-8,
        double weight_decay = 0,
        bool amsgrad = false,
        bool maximize = false)
        : this([new ParamGroup { Parameters = parameters }], lr, beta1, beta2, eps, weight_decay, amsgrad, maximize)
    {
    }

    public Adam(
        IEnumerable<ParamGroup> parameters,
        double lr = 1e-3,
        double beta1 = 0.9,
        double beta2 = 0.999,
        double eps = 1e-8,
        double weight_decay = 0,
        bool amsgrad = false,
        bool maximize = false)
    {
        Setting.NotNegative(lr);
        Setting.NotNegative(eps);
        Setting.NotNegative(weight_decay);
        Setting.Decay(beta1);
        Setting.Decay(beta2);
        _defaults = new Options
        {
            LearningRate = lr,
            InitialLearningRate = lr,
            beta1 = beta1,
            beta2 = beta2,
            eps = eps,
            weight_decay = weight_decay,
            amsgrad = amsgrad,
            maximize = maximize,
        };
        foreach (var group in parameters)
        {
            add_param_group(group);
        }
    }

    /// <summary>The decay rates that later groups start with.</summary>
    public (double, double) Betas
    {
        get => (Defaults.beta1!.Value, Defaults.beta2!.Value);
        set => (Defaults.beta1, Defaults.beta2) = value;
    }

    private Options Defaults => (Options)_defaults;

    public override Tensor step(Func<Tensor>? closure = null) => _step<ParamGroup>(StepGroup, closure);

    public override void add_param_group(Modules.ParamGroup param_group)
    {
        var options = (Options)(param_group.Options ??= new Options());
        options.beta1 ??= Defaults.beta1;
        options.beta2 ??= Defaults.beta2;
        options.eps ??= Defaults.eps;
        options.weight_decay ??= Defaults.weight_decay;
        options.amsgrad ??= Defaults.amsgrad;
        options.maximize ??= Defaults.maximize;
        AddGroup(param_group, parameter => new State(parameter));
    }

    private void StepGroup(ParamGroup group)
    {
        var options = group.Options;
        var settings = new AdamSettings(
            options.LearningRate!.Value, options.beta1!.Value,
            options.beta2!.Value, options.eps!.Value, options.amsgrad!.Value);
        var weightDecay = options.weight_decay!.Value;
        foreach (var parameter in group.Parameters)
        {
            var gradient = parameter.grad;
            if (gradient is null)
            {
                continue;
            }

            if (options.maximize!.Value)
            {
                gradient = gradient.neg();
            }

            if (weightDecay != 0)
            {
                gradient = gradient.add(parameter, alpha: weightDecay);
            }

            var state = (State)_state[parameter.Handle];
            state.step++;
            settings.Update(parameter, gradient, state.step, state.exp_avg, state.exp_avg_sq, state.max_exp_avg_sq);
        }
    }
}
