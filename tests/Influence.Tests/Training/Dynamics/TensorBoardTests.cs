using System.Buffers.Binary;
using Influence.Tests.Oracles;
using Influence.Training;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace Influence.Tests.Training;

/// <summary>The recipe of docs/training-loop.md: what a run shows of its examples, in event files that TensorBoard reads, by TorchSharp's
/// own writer.</summary>
public sealed class TensorBoardTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void WhatWasRecordedStandsInTheEventFile()
    {
        using var scope = NewDisposeScope();
        using var dynamics = new TrainingDynamics();
        for (var presentation = 0; presentation < 3; presentation++)
        {
            dynamics.Record([0, 1, 2, 3], randn(4, 3) * (presentation + 1), tensor([0L, 1, 2, 0]));
        }

        var board = utils.tensorboard.SummaryWriter(_folder.Path("runs"), createRunName: false);
        var expected = new List<(long Step, string Tag, float Value)>();
        for (var presentation = 0; presentation < 3; presentation++)
        {
            var loss = (float)dynamics.MeanLoss(presentation..(presentation + 1)).Values.Average();
            board.add_scalar("examples/mean loss", loss, presentation);
            expected.Add((presentation, "examples/mean loss", loss));
        }

        var file = Assert.Single(Directory.GetFiles(_folder.Path("runs")));
        Assert.Contains("tfevents", Path.GetFileName(file), StringComparison.Ordinal);
        var events = Records(File.ReadAllBytes(file)).Select(Tensorboard.Event.Parser.ParseFrom).ToList();
        Assert.Equal("brain.Event:2", events[0].FileVersion);
        Assert.Equal(expected, events.Skip(1).Select(e => (e.Step, e.Summary.Value[0].Tag, e.Summary.Value[0].SimpleValue)));
    }

    /// <summary>TFRecord: the length, its checksum, the bytes, their checksum.</summary>
    private static IEnumerable<byte[]> Records(byte[] file)
    {
        for (var at = 0; at < file.Length; )
        {
            var length = BinaryPrimitives.ReadInt64LittleEndian(file.AsSpan(at));
            Assert.Equal(Masked(file.AsSpan(at, 8)), BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 8)));
            var bytes = file[(at + 12)..(at + 12 + (int)length)];
            Assert.Equal(Masked(bytes), BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 12 + (int)length)));
            yield return bytes;
            at += 16 + (int)length;
        }
    }

    /// <summary>CRC-32C (Castagnoli) bit by bit, rotated and shifted as TFRecord has it.</summary>
    private static uint Masked(ReadOnlySpan<byte> bytes)
    {
        var crc = uint.MaxValue;
        foreach (var one in bytes)
        {
            crc ^= one;
            for (var bit = 0; bit < 8; bit++)
            {
                crc = (crc >> 1) ^ ((crc & 1) * 0x82F63B78u);
            }
        }

        crc = ~crc;
        return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
    }
}
