// Signatures of the Unity API that the package uses, written by hand from Unity's scripting reference (2022.3), with
// no behaviour: the package's Unity-facing sources are type-checked against them where there is no Unity.
using System;
using System.Collections.Generic;

namespace UnityEngine
{
    public class Object
    {
        public string name { get; set; }
        public static void Destroy(Object thing) { }
        public static void DestroyImmediate(Object thing) { }
        public static T Instantiate<T>(T original) where T : Object => original;
    }
    public class ScriptableObject : Object { public static T CreateInstance<T>() where T : ScriptableObject => null; }
    public class Component : Object
    {
        public GameObject gameObject => null;
        public Transform transform => null;
        public T GetComponent<T>() => default(T);
    }
    public class Behaviour : Component { }
    public class MonoBehaviour : Behaviour { }
    public sealed class GameObject : Object
    {
        public GameObject(string name) { }
        public int layer { get; set; }
        public Transform transform => null;
        public T AddComponent<T>() where T : Component => null;
    }
    public class Transform : Component
    {
        public Vector3 position { get; set; }
        public Vector3 forward { get; set; }
        public Quaternion rotation { get; set; }
        public Matrix4x4 localToWorldMatrix => default(Matrix4x4);
        public Matrix4x4 worldToLocalMatrix => default(Matrix4x4);
        public void SetParent(Transform parent, bool worldPositionStays) { }
        public void SetPositionAndRotation(Vector3 position, Quaternion rotation) { }
    }
    public struct Vector2
    {
        public float x, y;
        public Vector2(float x, float y) { this.x = x; this.y = y; }
        public static implicit operator Vector4(Vector2 v) => default(Vector4);
    }
    public struct Vector3
    {
        public float x, y, z;
        public Vector3(float x, float y, float z) { this.x = x; this.y = y; this.z = z; }
        public float magnitude => 0;
        public static Vector3 one => default(Vector3);
        public static Vector3 up => default(Vector3);
        public static Vector3 ProjectOnPlane(Vector3 vector, Vector3 normal) => vector;
        public static Vector3 operator *(float a, Vector3 b) => b;
        public static Vector3 operator +(Vector3 a, Vector3 b) => b;
        public static Vector3 operator -(Vector3 a, Vector3 b) => b;
        public static Vector3 operator -(Vector3 a) => a;
    }
    public struct Vector4
    {
        public float x, y, z, w;
        public Vector4(float x, float y, float z, float w) { this.x = x; this.y = y; this.z = z; this.w = w; }
        public static implicit operator Vector3(Vector4 v) => default(Vector3);
    }
    public struct Quaternion { public static Quaternion LookRotation(Vector3 forward) => default(Quaternion); }
    public struct Pose { }
    public struct Matrix4x4
    {
        public float this[int row, int column] { get => 0; set { } }
        public static Matrix4x4 identity => default(Matrix4x4);
        public Quaternion rotation => default(Quaternion);
        public Vector3 lossyScale => default(Vector3);
        public Vector4 GetColumn(int index) => default(Vector4);
        public Vector3 MultiplyPoint3x4(Vector3 point) => point;
        public static Matrix4x4 operator *(Matrix4x4 a, Matrix4x4 b) => a;
    }
    public struct Bounds { public Bounds(Vector3 center, Vector3 size) { } }
    public class Camera : Behaviour
    {
        public delegate void CameraCallback(Camera camera);
        public static CameraCallback onPreCull;
        public static Camera main => null;
        public bool orthographic { get; set; }
        public int cullingMask { get; set; }
        public int pixelWidth => 0;
        public int pixelHeight => 0;
        public Matrix4x4 projectionMatrix { get; set; }
        public Matrix4x4 worldToCameraMatrix { get; set; }
    }
    public class Shader : Object { }
    public class Material : Object { public Material(Shader shader) { } }
    public class MaterialPropertyBlock
    {
        public void SetBuffer(string name, GraphicsBuffer value) { }
        public void SetVector(string name, Vector4 value) { }
    }
    public class ComputeShader : Object
    {
        public int FindKernel(string name) => 0;
        public void SetInt(string name, int value) { }
        public void SetInts(string name, params int[] values) { }
        public void SetFloat(string name, float value) { }
        public void SetVector(string name, Vector4 value) { }
        public void SetVectorArray(string name, Vector4[] values) { }
        public void SetBuffer(int kernel, string name, GraphicsBuffer buffer) { }
        public void Dispatch(int kernel, int x, int y, int z) { }
    }
    public sealed class GraphicsBuffer : IDisposable
    {
        [Flags] public enum Target { Structured = 16 }
        public GraphicsBuffer(Target target, int count, int stride) { }
        public int count => 0;
        public void SetData(Array data) { }
        public void Dispose() { }
    }
    public enum MeshTopology { Triangles }
    public struct RenderParams
    {
        public RenderParams(Material material) : this() { }
        public Camera camera { get; set; }
        public int layer { get; set; }
        public MaterialPropertyBlock matProps { get; set; }
        public Bounds worldBounds { get; set; }
    }
    public static class Graphics
    {
        public static void RenderPrimitives(in RenderParams parameters, MeshTopology topology, int vertexCount, int instanceCount = 1) { }
    }
    public static class Resources { public static T Load<T>(string path) where T : Object => null; }
    public static class SystemInfo { public static bool supportsComputeShaders => true; }
    public static class Application { public static bool isPlaying => true; }
    public static class Time { public static float deltaTime => 0; public static float realtimeSinceStartup => 0; }
    public static class Debug { public static void LogError(object message, Object context) { } }
    public static class Mathf
    {
        public static float Max(float a, float b) => a;
        public static int Min(int a, int b) => a;
        public static float Sqrt(float a) => a;
        public static int Clamp(int value, int low, int high) => value;
        public static float Clamp(float value, float low, float high) => value;
        public static float Repeat(float value, float length) => value;
        public static int RoundToInt(float value) => 0;
    }
    public class GUILayoutOption { }
    public static class GUILayout
    {
        public static bool Toggle(bool value, string text, params GUILayoutOption[] options) => value;
        public static bool Button(string text, params GUILayoutOption[] options) => false;
        public static float HorizontalSlider(float value, float low, float high, params GUILayoutOption[] options) => value;
        public static GUILayoutOption Width(float width) => null;
    }
    public class SerializeField : Attribute { }
    public class HideInInspector : Attribute { }
    public class TooltipAttribute : Attribute { public TooltipAttribute(string text) { } }
    public class RangeAttribute : Attribute { public RangeAttribute(float low, float high) { } }
    public class ExecuteAlways : Attribute { }
    public class AddComponentMenu : Attribute { public AddComponentMenu(string path) { } }
    public class PreferBinarySerialization : Attribute { }
    public class DefaultExecutionOrder : Attribute { public DefaultExecutionOrder(int order) { } }
    public class RequireComponent : Attribute { public RequireComponent(Type first, Type second) { } }
}

namespace UnityEngine.Rendering
{
    public struct ScriptableRenderContext { }
    public static class RenderPipelineManager
    {
        public static event Action<ScriptableRenderContext, Camera> beginCameraRendering { add { } remove { } }
    }
}

namespace UnityEngine.Playables
{
    public interface IPlayableBehaviour { }
    public abstract class PlayableBehaviour : IPlayableBehaviour
    {
        public virtual void ProcessFrame(Playable playable, FrameData info, object playerData) { }
    }
    public struct FrameData { public float weight => 0; }
    public struct PlayableGraph { }
    public interface IPlayable { }
    public struct Playable : IPlayable { }
    public struct ScriptPlayable<T> : IPlayable where T : class, IPlayableBehaviour, new()
    {
        public static ScriptPlayable<T> Create(PlayableGraph graph, int inputCount = 0) => default(ScriptPlayable<T>);
        public T GetBehaviour() => null;
        public static implicit operator Playable(ScriptPlayable<T> playable) => default(Playable);
    }
    public static class PlayableExtensions { public static double GetTime<U>(this U playable) where U : struct, IPlayable => 0; }
    public abstract class PlayableAsset : ScriptableObject
    {
        public abstract Playable CreatePlayable(PlayableGraph graph, GameObject owner);
    }
}

namespace UnityEngine.Timeline
{
    using UnityEngine.Playables;

    public abstract class TrackAsset : PlayableAsset
    {
        public override Playable CreatePlayable(PlayableGraph graph, GameObject owner) => default(Playable);
    }
    [Flags] public enum ClipCaps { Looping = 1, ClipIn = 4, SpeedMultiplier = 8 }
    public interface ITimelineClipAsset { ClipCaps clipCaps { get; } }
    public class TrackColorAttribute : Attribute { public TrackColorAttribute(float r, float g, float b) { } }
    public class TrackBindingTypeAttribute : Attribute { public TrackBindingTypeAttribute(Type type) { } }
    public class TrackClipTypeAttribute : Attribute { public TrackClipTypeAttribute(Type type) { } }
}

namespace UnityEditor
{
    using UnityEngine;

    public class MenuCommand { public Object context; }
    public class MenuItem : Attribute { public MenuItem(string path) { } }
    public static class Undo
    {
        public static void RegisterCreatedObjectUndo(Object thing, string name) { }
        public static void RecordObject(Object thing, string name) { }
    }
}

namespace UnityEditor.AssetImporters
{
    using UnityEngine;

    public class ScriptedImporterAttribute : Attribute { public ScriptedImporterAttribute(int version, string extension) { } }
    public abstract class ScriptedImporter : Object { public abstract void OnImportAsset(AssetImportContext context); }
    public class AssetImportContext
    {
        public string assetPath => "";
        public void LogImportError(string message, Object context = null) { }
        public void AddObjectToAsset(string identifier, Object thing) { }
        public void SetMainObject(Object thing) { }
    }
}

// The package wu.yize.gsplat 1.3, read in its public source.
namespace Gsplat
{
    using UnityEngine;

    public abstract class GsplatResource { }
    public class GsplatResourceUncompressed : GsplatResource
    {
        public GraphicsBuffer PositionBuffer => null;
        public GraphicsBuffer ScaleBuffer => null;
        public GraphicsBuffer RotationBuffer => null;
        public GraphicsBuffer ColorBuffer => null;
    }
    public class GsplatRenderer : MonoBehaviour { public GsplatResource GsplatResource => null; }
}
