using static TorchSharp.torch;

namespace TorchSharp.Modules;

public partial class SGD
{
    public sealed class State : OptimizerState, IDisposable
    {
        /// <summary>The running sum of gradients; null until the first step with momentum.</summary>
        public Tensor momentum_buffer = null!;

        public State(Parameter parameter) : base(parameter)
        {
        }

        public override void Initialize(OptimizerOptions options)
        {
            momentum_buffer?.Dispose();
            momentum_buffer = null!;
        }

        public void Dispose() => momentum_buffer?.Dispose();

        public override void to(Device device) => Move(ref momentum_buffer!, device);

        public override void SaveStateDict(BinaryWriter writer) => SaveConditionalStateTensor(writer, momentum_buffer);

        public override void LoadStateDict(BinaryReader reader)
            => LoadConditionalStateTensor(reader, ref momentum_buffer!, _parameter.device);

        public override void LoadStateDict(OptimizerState source)
            => Replace(ref momentum_buffer!, ((State)source).momentum_buffer, _parameter.device);

        public override bool ApproximatelyEquals(OptimizerState other)
            => other is State state && Close(momentum_buffer, state.momentum_buffer);

        internal Tensor Accumulate(Tensor gradient, double momentum, double dampening)
        {
            if (momentum_buffer is null)
            {
                momentum_buffer = gradient.detach().clone().DetachFromDisposeScope();
            }
            else
            {
                momentum_buffer.mul_(momentum).add_(gradient, alpha: 1 - dampening);
            }

            return momentum_buffer;
        }
    }

    public class Options : OptimizerOptions
    {
        public double? momentum;
        public double? dampening;
        public double? weight_decay;
        public bool? nesterov;
        public bool? maximize;

        public override void SaveStateDict(BinaryWriter writer)
        {
            base.SaveStateDict(writer);
            writer.Write(momentum!.Value);
            writer.Write(dampening!.Value);
            writer.Write(weight_decay!.Value);
            writer.Write(nesterov!.Value);
            writer.Write(maximize!.Value);
        }

        public override void LoadStateDict(BinaryReader reader)
        {
            base.LoadStateDict(reader);
            momentum = reader.ReadDouble();
            dampening = reader.ReadDouble();
            weight_decay = reader.ReadDouble();
            nesterov = reader.ReadBoolean();
            maximize = reader.ReadBoolean();
        }

        public override void LoadStateDict(OptimizerOptions source)
        {
            base.LoadStateDict(source);
            var options = (Options)source;
            momentum = options.momentum;
            dampening = options.dampening;
            weight_decay = options.weight_decay;
            nesterov = options.nesterov;
            maximize = options.maximize;
        }
    }

    public class ParamGroup : ParamGroup<Options>, optim.IMomentum
    {
        public ParamGroup()
        {
        }

        public ParamGroup(IEnumerable<Parameter> parameters, Options options) : base(parameters, options)
        {
        }

        public ParamGroup(
            IEnumerable<Parameter> parameters,
            double lr = 1e-3,
            double momentum = 0.0,
            double dampening = 0,
            double weight_decay = 0,
            bool nesterov = false,
            bool maximize = false)
            : base(parameters, new Options
            {
                LearningRate = lr,
                momentum = momentum,
                dampening = dampening,
                weight_decay = weight_decay,
                nesterov = nesterov,
                maximize = maximize,
            })
        {
        }

        public double Momentum
        {
            get => Options.momentum!.Value;
            set => Options.momentum = value;
        }
    }
}
